"""Whether a picture holds an ECG that can be judged at all."""

from core.states import Reason
from model.preprocessing import Prepared

LEAST_TRACES = 3  # a 12-lead sheet has at least three rows of leads


def judge_readability(prepared: Prepared) -> tuple[float, Reason | None]:
    """How readable a picture is, 0 to 1, and why it is refused (None: it is not)."""
    ink = float((prepared.ink > 64).mean())
    if ink < 0.0005:
        return 0.0, Reason.BLANK
    if prepared.traces < LEAST_TRACES:
        return 0.3 * prepared.traces / LEAST_TRACES, Reason.NOT_AN_ECG
    return 1.0, None
