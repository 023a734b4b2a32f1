"""What an encoded frame says about itself, read from its first marker segments without decoding anything."""

import struct
from dataclasses import dataclass

from core.errors import NotDiagnostic
from core.states import Reason

_SOI = b"\xff\xd8"
_SOF = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7})  # T.81 B.1.1.3
_APP0, _APP14, _SOS, _EOI = 0xE0, 0xEE, 0xDA, 0xD9
_J2K_START = b"\xff\x4f\xff\x51"  # T.800 A.4.1: SOC, SIZ
_J2K_SOT, _SOT, _EOC = 0xFF90, b"\xff\x90", b"\xff\xd9"
LOSSLESS_JPEG, JPEG_LS = 0xC3, 0xF7


@dataclass(frozen=True, slots=True)
class Codestream:
    """What a stream claims to hold; for JPEG also its start-of-frame marker, component ids and Adobe transform flag."""

    rows: int
    columns: int
    samples: int
    bits: int
    frame_type: int = 0
    component_ids: bytes = b""
    adobe_transform: int | None = None
    jfif: bool = False


def read_jpeg(data: bytes) -> Codestream:
    """The frame header of a JPEG or JPEG-LS stream (T.81 B.2.2, T.87 C.2.2). Raises NotDiagnostic."""
    adobe, jfif = None, False
    position = _after_start(data)
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            break
        marker = data[position + 1]
        if marker == 0xFF:  # T.81 B.1.1.2: fill bytes
            position += 1
            continue
        if marker in (_SOS, _EOI):
            break
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        segment = data[position + 4 : position + 2 + length]
        if marker in _SOF:
            return _frame_header(marker, segment, adobe, jfif)
        if marker == _APP14 and segment[:5] == b"Adobe" and len(segment) >= 12:
            adobe = segment[11]
        jfif = jfif or (marker == _APP0 and segment[:4] == b"JFIF")
        position += 2 + max(length, 2)
    raise NotDiagnostic(Reason.DAMAGED, "a JPEG stream without a frame header")


def _after_start(data: bytes) -> int:
    if data[:2] != _SOI:
        raise NotDiagnostic(Reason.DAMAGED, "an encoded frame is no JPEG stream")
    return 2


def _frame_header(marker: int, segment: bytes, adobe: int | None, jfif: bool) -> Codestream:
    if len(segment) < 6 or len(segment) < 6 + 3 * segment[5]:
        raise NotDiagnostic(Reason.DAMAGED, "a JPEG frame header that is cut off")
    bits, rows, columns, samples = struct.unpack_from(">BHHB", segment)
    return Codestream(rows, columns, samples, bits, marker, segment[6 : 6 + 3 * samples : 3], adobe, jfif)


def read_jpeg2000(data: bytes) -> Codestream:
    """The SIZ segment of a JPEG 2000 codestream (T.800 A.5.1), bare or in a JP2 file. Raises NotDiagnostic.

    A stream whose tiles or end are missing is refused here: OpenJPEG would fill what is missing with grey.
    """
    start = data.find(_J2K_START, 0, 1 << 16)
    if start < 0 or len(data) < start + 43:
        raise NotDiagnostic(Reason.DAMAGED, "an encoded frame is no JPEG 2000 codestream")
    _, x1, y1, x0, y0, wide, high, left, top, samples, depth = struct.unpack_from(">HIIIIIIIIHB", data, start + 6)
    if not (wide and high and left <= x0 < x1 and top <= y0 < y1):
        raise NotDiagnostic(Reason.DAMAGED, "a JPEG 2000 codestream of impossible size")
    tiles = -(-(x1 - left) // wide) * -(-(y1 - top) // high)
    if tiles != len(_list_tiles(data, start)):
        raise NotDiagnostic(Reason.DAMAGED, f"a JPEG 2000 codestream without all of its {tiles} tiles")
    return Codestream(y1 - y0, x1 - x0, samples, (depth & 0x7F) + 1)


def _list_tiles(data: bytes, start: int) -> set[int]:
    """Numbers of the tiles whose parts are whole (T.800 A.4.2), from the main header to the end of the codestream."""
    position, tiles = start + 2, set()
    while position + 4 <= len(data):
        marker, length = struct.unpack_from(">HH", data, position)
        if marker == _J2K_SOT and position + 12 <= len(data):
            tile, part = struct.unpack_from(">HI", data, position + 4)
            # A part of length 0 is the last one and goes on to the end marker
            length = (part or data.rfind(_EOC) - position) - 2
            if length < 12 or data[position + 2 + length : position + 4 + length] not in (_SOT, _EOC):
                return set()
            tiles.add(tile)
        elif not 0xFF4F < marker < 0xFFD9:
            break
        position += 2 + length
    return tiles
