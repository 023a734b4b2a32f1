"""What a 12-lead signal says of itself: targets to learn from without a diagnosis.

Every target is free of the record's scale, because some collections scale leads one by one: times and signs as they
are, ST levels as a share of their lead's QRS.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

from core.values import Signal
from model.physiology import find_beats
from model.rendering import LEADS

NAMES = (
    "rate",
    "irregularity",
    "axis_cos",
    "axis_sin",
    "qrs_width",
    *(f"st_{lead}" for lead in LEADS),
    *(f"t_{lead}" for lead in LEADS),
    *(f"r_{lead}" for lead in LEADS),
)
COUNT = len(NAMES)
LEAD_NAMES = ("st", "t", "r", "q")
_DRIFT_HZ = 0.5
_BEFORE_S, _AFTER_S = 0.25, 0.45  # of a median beat, around R
_ISO_S = (-0.09, -0.05)  # the PR segment, from R
_ST_S = (0.07, 0.11)
_T_S = (0.14, 0.40)
_QRS_S = (-0.05, 0.06)
_STEEP = 0.15  # of the steepest slope: QRS lasts while slopes are steeper


@dataclass(frozen=True, slots=True, eq=False)
class Beat:
    """The median beat: mV (leads, samples) over the PR segment's level, R at `peak`."""

    leads: NDArray[np.float64]
    peak: int
    rate_hz: float

    def part(self, begin_s: float, end_s: float) -> NDArray[np.float64]:
        first, last = (self.peak + round(edge * self.rate_hz) for edge in (begin_s, end_s))
        return self.leads[:, max(0, first) : last]


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """What there is to learn: `whole` in the order of `NAMES`, `leads` (12, 4) in that of `LEADS` and `LEAD_NAMES`.

    Each value is about -1 to 1. A lead's q is how deep it goes before R, as a share of its QRS.
    """

    whole: NDArray[np.float32]
    leads: NDArray[np.float32]


def targets_of(signal: Signal) -> Targets | None:
    """The targets; None where beats or leads are missing."""
    beats = find_beats(signal)
    if len(beats) < 4 or any(lead not in signal.leads for lead in LEADS):
        return None
    beat = median_beat(signal, beats)
    gaps = np.diff(beats) / signal.sampling_rate_hz
    rate = 60.0 / float(np.median(gaps))
    irregularity = float(np.std(gaps) / np.mean(gaps))
    leads = _lead_targets(beat)
    qrs = beat.part(*_QRS_S)
    net = qrs.max(axis=1) + qrs.min(axis=1)
    angle = float(np.arctan2(net[LEADS.index("aVF")], net[LEADS.index("I")]))
    values = [
        (rate - 75.0) / 40.0,
        min(irregularity, 0.5) * 4.0 - 0.5,
        np.cos(angle),
        np.sin(angle),
        (qrs_width(beat) - 0.1) / 0.04,
        *leads[:, :3].T.ravel(),
    ]
    return Targets(np.clip(np.array(values, np.float32), -3, 3), leads)


def _lead_targets(beat: Beat) -> NDArray[np.float32]:
    qrs = beat.part(*_QRS_S)
    height = np.maximum(np.ptp(qrs, axis=1), 0.05)
    st = np.median(beat.part(*_ST_S), axis=1) / height
    t_wave = _extreme(beat.part(*_T_S)) / height
    net = (qrs.max(axis=1) + qrs.min(axis=1)) / height
    q_wave = np.array([_before_top(lead) for lead in qrs]) / height
    values = [np.clip(4.0 * st, -2, 2), np.clip(2.0 * t_wave, -2, 2), net, 2.0 * q_wave]
    return np.stack(values, axis=1).astype(np.float32)


def _before_top(lead: NDArray[np.float64]) -> float:
    """How far a QRS complex goes below its level before its highest point."""
    return max(0.0, -float(lead[: int(lead.argmax()) + 1].min()))


def median_beat(signal: Signal, beats: NDArray[np.int64]) -> Beat:
    """All beats laid over each other, their median sample by sample."""
    rate = signal.sampling_rate_hz
    section = butter(1, _DRIFT_HZ, "highpass", fs=rate, output="sos")
    length = min(signal.leads[lead].size for lead in LEADS)
    level = sosfiltfilt(section, np.stack([signal.leads[lead][:length].astype(np.float64) for lead in LEADS]))
    before, after = round(_BEFORE_S * rate), round(_AFTER_S * rate)
    whole = [beat for beat in beats if before <= beat < length - after] or [int(np.clip(beats[0], before, length))]
    middle = np.median([level[:, beat - before : beat + after] for beat in whole], axis=0)
    iso = middle[:, before + round(_ISO_S[0] * rate) : before + round(_ISO_S[1] * rate)]
    return Beat(middle - np.median(iso, axis=1, keepdims=True), before, rate)


def qrs_width(beat: Beat) -> float:
    """Seconds between the first and the last steep slope around R, over all leads."""
    slopes = np.abs(np.diff(beat.part(-0.12, 0.14), axis=1)).sum(axis=0)
    steep = np.flatnonzero(slopes > _STEEP * slopes.max())
    return float((steep[-1] - steep[0] + 1) / beat.rate_hz)


def _extreme(part: NDArray[np.float64]) -> NDArray[np.float64]:
    """The value farthest from zero, of each row."""
    return part[np.arange(len(part)), np.abs(part).argmax(axis=1)]
