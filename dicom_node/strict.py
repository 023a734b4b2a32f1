"""A strict walk over an encoded data set: every length must hold, to the last byte. PS3.5 clause 7.

A value that is shorter than its length is what a cut connection or a full disk leaves behind; lenient parsers accept
it. The walk decodes nothing, keeps its own stack (a hostile nesting cannot exhaust Python's) and picks header values.
"""

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from pydicom.datadict import DicomDictionary
from pydicom.uid import UID

from dicom_node.statuses import RefusedBecause, Status

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXEL_DATA_GROUP = 0x7FE0
PIXEL_DATA = 0x7FE00010
FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA = 0x7FE00008, 0x7FE00009
WAVEFORM_SEQUENCE = 0x54000100
ENCAPSULATED_DOCUMENT = 0x00420011
CONTENTS = frozenset({PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA, WAVEFORM_SEQUENCE, ENCAPSULATED_DOCUMENT})
LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
# Width in bytes of what a big endian value has to be swapped by
_WIDTHS = {b"US": 2, b"SS": 2, b"OW": 2, b"AT": 2, b"UL": 4, b"SL": 4, b"FL": 4, b"OF": 4, b"OL": 4}
_WIDTHS |= {b"FD": 8, b"OD": 8, b"SV": 8, b"UV": 8, b"OV": 8}
# What changes when only the transfer syntax does: photometric interpretation, planar configuration, lossy compression
_TRANSCODED = frozenset({0x00280004, 0x00280006, 0x00282110, 0x00282112, 0x00282114})
_HASH_WHOLE = 1 << 16


class Unreadable(Exception):
    """The data set does not hold together; `status` and `because` are the answer to its sender."""

    def __init__(self, status: Status, because: RefusedBecause) -> None:
        super().__init__(because.value)
        self.status = status
        self.because = because


@dataclass(slots=True)
class Walked:
    """What the walk saw: wanted top-level values as sent, and a digest that ignores how the data set was encoded."""

    values: dict[int, bytes] = field(default_factory=dict)
    contents: set[int] = field(default_factory=set)
    """Which of CONTENTS stand at the top level."""
    comparison_sha256: str = ""
    pixel_sha256: str = ""


@dataclass(slots=True)
class _Level:
    """An open sequence or item: where it must end, None when a delimiter ends it."""

    end: int | None
    is_item: bool
    implicit: bool
    is_pixels: bool = False


def walk(data: bytes, transfer_syntax_uid: str, wanted: Iterable[int], max_nesting: int) -> Walked:
    """Walk a whole encoded data set. Raises Unreadable."""
    syntax = UID(transfer_syntax_uid)
    return _Walk(data, syntax.is_implicit_VR, syntax.is_little_endian, frozenset(wanted), max_nesting).run()


class _Walk:
    def __init__(self, data: bytes, implicit: bool, little: bool, wanted: frozenset[int], max_nesting: int) -> None:
        self._data = data
        self._little = little
        self._tag = struct.Struct("<HH" if little else ">HH")
        self._u16 = struct.Struct("<H" if little else ">H")
        self._u32 = struct.Struct("<L" if little else ">L")
        self._wanted = wanted
        self._most_levels = 2 * max_nesting
        self._levels: list[_Level] = []
        self._implicit = implicit
        self._digest = hashlib.sha256()
        self._pixels = hashlib.sha256()
        self._walked = Walked()
        self._at = 0

    def run(self) -> Walked:
        total = len(self._data)
        while True:
            self._close_ended()
            if self._at == total and not self._levels:
                self._walked.comparison_sha256 = self._digest.hexdigest()
                self._walked.pixel_sha256 = self._pixels.hexdigest()
                return self._walked
            self._step()

    def _close_ended(self) -> None:
        while self._levels and self._levels[-1].end is not None and self._at >= self._levels[-1].end:
            if self._at > self._levels[-1].end:
                raise Unreadable(Status.TRUNCATED, RefusedBecause.TRUNCATED)
            self._levels.pop()

    def _step(self) -> None:
        tag = self._read_tag()
        level = self._levels[-1] if self._levels else None
        if tag >> 16 == 0xFFFE:
            self._delimiter(tag, level)
        elif level is not None and not level.is_item:
            raise Unreadable(Status.CANNOT_UNDERSTAND, RefusedBecause.UNREADABLE)
        else:
            self._element(tag, level.implicit if level else self._implicit)

    def _need(self, count: int) -> None:
        end = self._levels[-1].end if self._levels else None
        if self._at + count > (len(self._data) if end is None else end):
            raise Unreadable(Status.TRUNCATED, RefusedBecause.TRUNCATED)

    def _read_tag(self) -> int:
        self._need(8)
        group, element = self._tag.unpack_from(self._data, self._at)
        self._at += 4
        return int(group << 16 | element)

    def _delimiter(self, tag: int, level: _Level | None) -> None:
        (length,) = self._u32.unpack_from(self._data, self._at)
        self._at += 4
        if tag == ITEM and level is not None and not level.is_item:
            self._open_item(length, level)
        elif level is not None and level.end is None and tag == (ITEM_END if level.is_item else SEQUENCE_END):
            self._levels.pop()
        else:
            raise Unreadable(Status.CANNOT_UNDERSTAND, RefusedBecause.UNREADABLE)

    def _open_item(self, length: int, level: _Level) -> None:
        if level.is_pixels:
            self._need(length)
            self._pixels.update(memoryview(self._data)[self._at : self._at + length])
            self._at += length
            return
        self._digest.update(b"item")
        self._open(_Level(self._end_of(length), is_item=True, implicit=level.implicit))

    def _end_of(self, length: int) -> int | None:
        if length == UNDEFINED:
            return None
        self._need(length)
        return self._at + length

    def _open(self, level: _Level) -> None:
        if len(self._levels) >= self._most_levels:
            raise Unreadable(Status.TOO_DEEP, RefusedBecause.TOO_DEEP)
        self._levels.append(level)

    def _element(self, tag: int, implicit: bool) -> None:
        if tag >> 16 in (0x0000, 0x0002):  # command and file meta elements have no place in a data set
            raise Unreadable(Status.CANNOT_UNDERSTAND, RefusedBecause.UNREADABLE)
        if tag in CONTENTS and not self._levels:
            self._walked.contents.add(tag)
        vr, length = self._implicit_head(tag) if implicit else self._explicit_head()
        if length == UNDEFINED or vr == b"SQ":
            self._open_sequence(tag, vr, length, implicit)
            return
        self._need(length)
        self._value(tag, vr, length)
        self._at += length

    def _implicit_head(self, tag: int) -> tuple[bytes, int]:
        (length,) = self._u32.unpack_from(self._data, self._at)
        self._at += 4
        known = DicomDictionary.get(tag)
        return (known[0][:2].encode() if known else b"UN"), length

    def _explicit_head(self) -> tuple[bytes, int]:
        vr = self._data[self._at : self._at + 2]
        if not (vr.isalpha() and vr.isupper()):
            raise Unreadable(Status.CANNOT_UNDERSTAND, RefusedBecause.UNREADABLE)
        if vr not in LONG_VRS:
            (length,) = self._u16.unpack_from(self._data, self._at + 2)
            self._at += 4
            return vr, length
        self._need(8)
        (length,) = self._u32.unpack_from(self._data, self._at + 4)
        self._at += 8
        return vr, length

    def _open_sequence(self, tag: int, vr: bytes, length: int, implicit: bool) -> None:
        pixels = tag == PIXEL_DATA and length == UNDEFINED and vr in (b"OB", b"OW")
        if not (pixels or implicit or vr in (b"SQ", b"UN")):
            raise Unreadable(Status.CANNOT_UNDERSTAND, RefusedBecause.UNREADABLE)
        if not pixels:
            self._digest.update(tag.to_bytes(4, "big"))
        # PS3.5 6.2.2: a sequence of VR UN is encoded in implicit VR, whatever surrounds it
        inner_implicit = implicit or vr == b"UN"
        self._open(_Level(self._end_of(length), is_item=False, implicit=inner_implicit, is_pixels=pixels))

    def _value(self, tag: int, vr: bytes, length: int) -> None:
        if tag >> 16 == PIXEL_DATA_GROUP:
            self._pixels.update(memoryview(self._data)[self._at : self._at + length])
            return
        if tag & 0xFFFF == 0:  # group lengths count bytes of an encoding
            return
        value = self._data[self._at : self._at + length]
        if not self._levels and tag in self._wanted:
            self._walked.values[tag] = value
        if tag in _TRANSCODED:
            return
        self._digest.update(tag.to_bytes(4, "big"))
        self._digest.update(self._as_little(value, vr).rstrip(b" \0") if length <= _HASH_WHOLE else value)

    def _as_little(self, value: bytes, vr: bytes) -> bytes:
        width = _WIDTHS.get(vr)
        if self._little or width is None or len(value) % width:
            return value
        return b"".join(value[i : i + width][::-1] for i in range(0, len(value), width))
