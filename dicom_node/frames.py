"""The encoded bytes of each frame: cut out of native pixel data, or put together from fragments (PS3.5 A.4)."""

from collections.abc import Iterator

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames, parse_fragments

from core.errors import NotDiagnostic
from core.states import Reason
from dicom_node.pixel_header import PixelHeader

_MOST_FRAGMENTS = 100_000


def list_frames(dataset: Dataset, header: PixelHeader, count: int) -> Iterator[memoryview | bytes]:
    """The first `count` frames as they are encoded. Raises NotDiagnostic where there are fewer."""
    if header.transfer_syntax.is_encapsulated:
        return _encapsulated(dataset, header, count)
    return _native(dataset.PixelData, header, count)


def frame_bits(header: PixelHeader) -> int:
    """Length of one native frame in bits."""
    samples = header.rows * header.columns * header.samples
    if header.photometric in {"YBR_FULL_422", "YBR_PARTIAL_422"}:
        samples = samples // 3 * 2  # PS3.3 C.7.6.3.1.2: two luminances share one pair of chrominances
    elif header.photometric == "YBR_PARTIAL_420":
        samples //= 2
    return samples * header.bits_allocated


def _native(data: bytes, header: PixelHeader, count: int) -> Iterator[memoryview | bytes]:
    bits = frame_bits(header)
    if len(data) * 8 < bits * header.frames:
        raise NotDiagnostic(Reason.DAMAGED, f"{len(data)} bytes of pixel data, {bits * header.frames // 8} announced")
    if header.words_swapped:
        data = np.frombuffer(data, "<u2").byteswap().tobytes()
    for index in range(count):
        first, last = index * bits // 8, -(-(index + 1) * bits // 8)
        frame = memoryview(data)[first:last]
        yield _aligned(frame, index * bits % 8) if bits % 8 else frame


def _aligned(frame: memoryview, skip: int) -> bytes:
    """1-bit frames follow each other without padding (PS3.5 8.1.1): move this one to the start of its first byte."""
    bits = np.unpackbits(np.frombuffer(frame, np.uint8), bitorder="little")
    return np.packbits(bits[skip:], bitorder="little").tobytes()


def _encapsulated(dataset: Dataset, header: PixelHeader, count: int) -> Iterator[memoryview | bytes]:
    fragments, _ = parse_fragments(dataset.PixelData)
    if not header.frames <= fragments <= _MOST_FRAGMENTS:
        raise NotDiagnostic(Reason.DAMAGED, f"{fragments} fragments for {header.frames} frames")
    table = None
    if dataset.get("ExtendedOffsetTable"):
        table = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    frames = generate_frames(dataset.PixelData, number_of_frames=header.frames, extended_offsets=table)
    for index in range(count):
        frame = next(frames, None)
        if not frame:
            raise NotDiagnostic(Reason.DAMAGED, f"frame {index + 1} of {header.frames} is missing")
        yield frame
