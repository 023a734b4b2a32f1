"""What an image object says about its pixels (PS3.3 C.7.6.3), checked before a byte of them is touched."""

from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRBigEndian, ImplicitVRLittleEndian

from core.errors import NotDiagnostic
from core.states import Reason

GREY = frozenset({"MONOCHROME1", "MONOCHROME2"})
PALETTE = "PALETTE COLOR"
COLOUR = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT"})
BITS_ALLOCATED = frozenset({1, 8, 16, 32})


@dataclass(frozen=True, slots=True)
class PixelHeader:
    """The Image Pixel module. `shift` is how far the stored bits of a native sample lie above bit 0."""

    transfer_syntax: UID
    rows: int
    columns: int
    frames: int
    samples: int
    photometric: str
    planar: bool
    bits_allocated: int
    bits_stored: int
    shift: int
    signed: bool
    words_swapped: bool

    @property
    def big_endian(self) -> bool:
        return self.transfer_syntax == ExplicitVRBigEndian


def read_pixel_header(dataset: Dataset) -> PixelHeader:
    """The Image Pixel module of `dataset`. Raises NotDiagnostic where it is incomplete or contradicts itself."""
    photometric = str(dataset.get("PhotometricInterpretation") or "").strip().upper()
    samples = _number(dataset, "SamplesPerPixel", default=3 if photometric in COLOUR else 1)
    allocated = _number(dataset, "BitsAllocated")
    stored = _number(dataset, "BitsStored", default=allocated)
    high = _number(dataset, "HighBit", default=stored - 1, least=0)
    syntax = dataset.file_meta.get("TransferSyntaxUID") or ImplicitVRLittleEndian
    _check(photometric, samples, allocated, stored, high)
    big_words = dataset["PixelData"].VR == "OW" and syntax == ExplicitVRBigEndian
    return PixelHeader(
        transfer_syntax=UID(syntax),
        rows=_number(dataset, "Rows"),
        columns=_number(dataset, "Columns"),
        frames=_number(dataset, "NumberOfFrames", default=1),
        samples=samples,
        photometric=photometric,
        planar=samples > 1 and _number(dataset, "PlanarConfiguration", default=0, least=0) == 1,
        bits_allocated=allocated,
        bits_stored=stored,
        shift=high + 1 - stored,
        signed=_number(dataset, "PixelRepresentation", default=0, least=0) == 1,
        words_swapped=big_words and allocated <= 8,
    )


def _check(photometric: str, samples: int, allocated: int, stored: int, high: int) -> None:
    if photometric in GREY or photometric == PALETTE:
        fitting = samples == 1
    elif photometric in COLOUR:
        fitting = samples == 3
    else:
        raise NotDiagnostic(Reason.UNSUPPORTED_ENCODING, "photometric interpretation is none that ECGs are sent in")
    if not fitting:
        raise NotDiagnostic(Reason.DAMAGED, f"{samples} samples a pixel do not fit {photometric}")
    if allocated not in BITS_ALLOCATED:
        raise NotDiagnostic(Reason.UNSUPPORTED_ENCODING, f"{allocated} bits allocated")
    if not stored <= high + 1 <= allocated:
        raise NotDiagnostic(Reason.DAMAGED, f"{stored} bits stored up to bit {high} of {allocated}")


def _number(dataset: Dataset, keyword: str, default: int | None = None, least: int = 1) -> int:
    value = dataset.get(keyword)
    if value in (None, ""):
        value = default
    if value is None or int(value) < least:
        raise NotDiagnostic(Reason.DAMAGED, f"{keyword} is missing or impossible")
    return int(value)
