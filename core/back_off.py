"""How long to wait before something that is away is tried again."""

from collections.abc import Callable

from core.settings import Settings


def back_off_s(failures: int, settings: Settings, chance: Callable[[], float]) -> float:
    """Seconds to wait after `failures` earlier ones: doubling up to the most, the upper half of it by chance.

    The chance keeps several senders from knocking at the same moment at a PACS that just came back.
    """
    full = min(settings.retry_most_s, settings.retry_first_s * 2.0 ** min(failures, 32))
    return full * (0.5 + chance() / 2)
