"""What is found in a received object, and how large it may be."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from core.settings import Settings
from core.values import Picture, Signal


class Kind(StrEnum):
    """What an object holds."""

    IMAGE = "image"
    PDF = "pdf"
    WAVEFORM = "waveform"


@dataclass(frozen=True, slots=True)
class Limits:
    """How large an object may be before a decoder sees it.

    `max_pixels` bounds Rows x Columns x Frames and channels x samples, `max_frames` the frames or pages that are
    judged (what is beyond is counted, not judged), `max_ratio` how many decoded bytes one encoded byte may become.
    """

    max_pixels: int = 100_000_000
    max_frames: int = 32
    max_ratio: int = 1000

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(settings.max_pixels, settings.max_frames)


@dataclass(frozen=True, slots=True, eq=False)
class EcgObject:
    """Pictures (image, PDF) or a signal (waveform).

    `left_out` counts frames or pages beyond the limit. `channels` are the pairs (multiplex group, channel) that were
    read, both from 1, as Referenced Waveform Channels (PS3.3 C.10.8) names them.
    """

    kind: Kind
    pictures: tuple[Picture, ...] = ()
    signal: Signal | None = None
    left_out: int = 0
    channels: tuple[tuple[int, int], ...] = ()
