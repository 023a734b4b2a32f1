"""T15, the worker's part: objects that lie about their size or are made to exhaust a decoder end with a reason within
the deadline, and the next object is read.

Seen to fail with the checks of header against stream, ratio and size taken out one by one, and with no memory limit.
"""

import struct
import time
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import write_file_meta_info
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from core.errors import NotDiagnostic
from core.settings import Settings
from core.states import Reason
from tests.intake.image_objects import Format, build_image, convert, ecg_like, save
from tests.intake.pdf_objects import build_pdf, encapsulate_pdf
from tests.intake.waveform_objects import Group, beats, build_waveform
from worker.decoder import Decoder

LONG = pytest.mark.faults  # seconds each: made to exhaust what they meet
GREY = Format("grey", "MONOCHROME2", 8, 8)
MORE = (RLELossless, JPEG2000Lossless, JPEGLSLossless)
DEADLINE_S = 4.0  # shorter than the default of 10 to keep the suite short
SLACK_S = 2.0


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder(Settings(demo=True, decode_timeout_s=DEADLINE_S)) as running:
        yield running


@pytest.fixture(autouse=True)
def _next_object_is_read(decoder: Decoder, tmp_path: Path) -> Iterator[None]:
    yield
    good = save(build_image(GREY, ecg_like(GREY)), tmp_path / "next.dcm")
    assert len(decoder.pictures_of(good).pictures) == 1


def _end(decoder: Decoder, path: Path) -> Reason | str:
    """How an object ends, in time."""
    began = time.monotonic()
    try:
        decoder.pictures_of(path)
        end: Reason | str = "pictures"
    except NotDiagnostic as refused:
        end = refused.reason
    assert time.monotonic() - began < DEADLINE_S + SLACK_S
    return end


def _image(**changed: object) -> Dataset:
    dataset = build_image(GREY, ecg_like(GREY))
    for keyword, value in changed.items():
        setattr(dataset, keyword, value)
    return dataset


def _encapsulated(frame: bytes, syntax: UID, **changed: object) -> Dataset:
    dataset = _image(**changed)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    return dataset


def _jpeg(rows: int, columns: int, **options: object) -> bytes:
    buffer = BytesIO()
    Image.new("L", (columns, rows), 128).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def _jpeg_claiming(rows: int, columns: int) -> bytes:
    """A small JPEG stream whose frame header claims another size."""
    data = bytearray(_jpeg(61, 94))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", rows, columns)
    return bytes(data)


def _jpeg2000(tmp_path: Path) -> bytearray:
    plain = save(build_image(GREY, ecg_like(GREY)), tmp_path / "plain.dcm")
    assert convert(plain, tmp_path / "j2k.dcm", "gdcmconv", "--j2k")
    data = (tmp_path / "j2k.dcm").read_bytes()
    return bytearray(data[data.index(b"\xff\x4f\xff\x51") :])


def _rle(segment: bytes) -> bytes:
    return struct.pack("<16I", 1, 64, *[0] * 14) + segment


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"Rows": 65535, "Columns": 65535}, id="rows-and-columns"),
        pytest.param({"NumberOfFrames": 2_000_000_000}, id="frames"),
        pytest.param({"Rows": 9999, "Columns": 9999}, id="ratio"),
    ],
)
@pytest.mark.parametrize("syntax", [None, JPEGBaseline8Bit, *(pytest.param(one, marks=LONG) for one in MORE)])
def test_a_header_that_claims_too_much_is_refused_before_decoding(
    changed: dict[str, object], syntax: UID | None, decoder: Decoder, tmp_path: Path
) -> None:
    dataset = _image(**changed) if syntax is None else _encapsulated(_jpeg(61, 94), syntax, **changed)
    assert _end(decoder, save(dataset, tmp_path / "lie.dcm")) is Reason.TOO_BIG


@pytest.mark.parametrize("size", [(65500, 65500), (60, 94), (62, 94)], ids=str)
@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless])
def test_a_jpeg_stream_of_another_size_than_its_header_is_damaged(
    size: tuple[int, int], syntax: UID, decoder: Decoder, tmp_path: Path
) -> None:
    path = save(_encapsulated(_jpeg_claiming(*size), syntax), tmp_path / "lie.dcm")
    assert _end(decoder, path) is Reason.DAMAGED


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        pytest.param(8, 0x7FFFFFFF, id="width"),
        pytest.param(12, 0x7FFFFFFF, id="height"),
        pytest.param(24, 1, id="tile-width-1"),
        pytest.param(28, 0, id="tile-height-0"),
    ],
)
def test_a_jpeg_2000_stream_that_lies_about_its_size_is_damaged(
    offset: int, value: int, decoder: Decoder, tmp_path: Path
) -> None:
    stream = _jpeg2000(tmp_path)
    struct.pack_into(">I", stream, offset, value)
    assert _end(decoder, save(_encapsulated(bytes(stream), JPEG2000Lossless), tmp_path / "lie.dcm")) is Reason.DAMAGED


def test_a_jpeg_2000_stream_of_nothing_but_a_header_is_damaged(decoder: Decoder, tmp_path: Path) -> None:
    path = save(_encapsulated(bytes(_jpeg2000(tmp_path)[:60]), JPEG2000Lossless), tmp_path / "cut.dcm")
    assert _end(decoder, path) is Reason.DAMAGED


def test_run_lengths_of_a_gigabyte_fill_the_picture_and_no_more(decoder: Decoder, tmp_path: Path) -> None:
    path = save(_encapsulated(_rle(b"\x81\x07" * 8_000_000), RLELossless), tmp_path / "bomb.dcm")
    assert _end(decoder, path) == "pictures"


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(_rle(b"\x81\x07"), id="too-short"),
        pytest.param(struct.pack("<16I", 15, *[64] * 15) + b"\x81\x07" * 100, id="too-many-segments"),
        pytest.param(struct.pack("<16I", 1, 0xFFFFFFF0, *[0] * 14) + b"\x81\x07" * 100, id="offset-outside"),
        pytest.param(b"\x01", id="no-header"),
    ],
)
def test_run_lengths_that_do_not_fit_are_damaged(frame: bytes, decoder: Decoder, tmp_path: Path) -> None:
    assert _end(decoder, save(_encapsulated(frame, RLELossless), tmp_path / "bomb.dcm")) is Reason.DAMAGED


@LONG
def test_a_deflated_gigabyte_is_never_inflated(decoder: Decoder, tmp_path: Path) -> None:
    path = tmp_path / "deflated.dcm"
    dataset = _image()
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    with path.open("wb") as file:
        file.write(b"\0" * 128 + b"DICM")
        write_file_meta_info(file, dataset.file_meta)
        deflate = zlib.compressobj(9, wbits=-15)
        zeros = bytes(1 << 20)
        for _ in range(1500):
            file.write(deflate.compress(zeros))
        file.write(deflate.flush())
    assert _end(decoder, path) is Reason.UNSUPPORTED_ENCODING


def progressive_bomb() -> Dataset:
    """Each scan costs a pass over the whole picture: 20 MB of them would be hours."""
    stream = _jpeg(4000, 4000, progressive=True)
    first = stream.index(b"\xff\xda")
    second = stream.index(b"\xff\xda", first + 2)
    third = stream.index(b"\xff\xda", second + 2)
    scans = stream[second:third] * 10_000
    bomb = stream[:second] + scans + b"\xff\xd9"
    return _encapsulated(bomb, JPEGBaseline8Bit, Rows=4000, Columns=4000)


@LONG
def test_a_progressive_stream_of_ten_thousand_scans_ends_in_time(decoder: Decoder, tmp_path: Path) -> None:
    assert _end(decoder, save(progressive_bomb(), tmp_path / "bomb.dcm")) in (Reason.TOO_BIG, Reason.DAMAGED)


def with_a_million_elements(path: Path) -> Path:
    """The object at `path`, with as many empty private elements put in."""
    data = bytearray(path.read_bytes())
    at = data.index(b"\xe0\x7f\x10\x00")
    tiny = b"".join(
        struct.pack("<HH2sH", 0x0029 + 2 * (n // 60_000), 0x1000 + n % 60_000, b"LO", 0) for n in range(1_000_000)
    )
    path.write_bytes(data[:at] + tiny + data[at:])
    return path


@LONG
def test_a_million_tiny_elements_end_in_time(decoder: Decoder, tmp_path: Path) -> None:
    path = with_a_million_elements(save(_image(), tmp_path / "many.dcm"))
    assert _end(decoder, path) in ("pictures", Reason.TOO_BIG)


@LONG
@pytest.mark.parametrize("where", ["WaveformSequence", "ChannelDefinitionSequence", "PerFrameFunctionalGroupsSequence"])
def test_a_million_empty_items_end_in_time(where: str, decoder: Decoder, tmp_path: Path) -> None:
    items = b"\xfe\xff\x00\xe0\x00\x00\x00\x00" * 1_000_000
    dataset = build_waveform(Group(beats())) if where != "PerFrameFunctionalGroupsSequence" else _image()
    holder = dataset.WaveformSequence[0] if where == "ChannelDefinitionSequence" else dataset
    setattr(holder, where, Sequence([Dataset()] * 7))
    path = save(dataset, tmp_path / "items.dcm")
    data = path.read_bytes()
    short = b"\xfe\xff\x00\xe0\x00\x00\x00\x00" * 7
    at = data.index(short)
    grown = len(items) - len(short)
    grown_data = bytearray(data[:at] + items + data[at + len(short) :])
    for position in _lengths_around(data, at):
        (length,) = struct.unpack_from("<I", grown_data, position)
        struct.pack_into("<I", grown_data, position, length + grown)
    path.write_bytes(grown_data)
    assert _end(decoder, path) in (Reason.TOO_BIG, Reason.DAMAGED, Reason.NO_PICTURE, "pictures")


def _lengths_around(data: bytes, at: int) -> list[int]:
    """Where the lengths of the sequences stand that hold the byte at `at`."""
    found = []
    for tag in (b"\x00\x54\x00\x01SQ\0\0", b"\x3a\x00\x00\x02SQ\0\0", b"\x00\x52\x30\x92SQ\0\0"):
        start = data.find(tag)
        if 0 <= start < at:
            found.append(start + 8)
            if tag == b"\x00\x54\x00\x01SQ\0\0" and data[start + 12 : start + 16] == b"\xfe\xff\x00\xe0":
                found += [start + 16] if start + 20 < at else []
    return found


@LONG
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: build_pdf(["0 0 m 300 200 l S\n" * 3_000_000]), id="three-million-lines"),
        pytest.param(lambda: build_pdf(["q " * 2_000_000]), id="two-million-saves"),
        pytest.param(lambda: build_pdf(["[" * 1_000_000]), id="a-million-brackets"),
    ],
)
def test_a_pdf_made_to_exhaust_its_renderer_ends_in_time(
    make: Callable[[], bytes], decoder: Decoder, tmp_path: Path
) -> None:
    path = save(encapsulate_pdf(make()), tmp_path / "bomb.dcm")
    assert _end(decoder, path) in ("pictures", Reason.TOO_BIG, Reason.DAMAGED)


def test_samples_that_are_not_there_are_not_asked_for(decoder: Decoder, tmp_path: Path) -> None:
    dataset = build_waveform(Group(beats()))
    dataset.WaveformSequence[0].NumberOfWaveformSamples = 0xFFFFFFFF
    assert _end(decoder, save(dataset, tmp_path / "lie.dcm")) is Reason.TOO_BIG


@LONG
def test_a_picture_that_fits_the_limits_but_not_the_memory_ends_in_time(tmp_path: Path) -> None:
    """The limit is the process's, so that what pydicom, libjpeg or OpenJPEG allocate counts as well."""
    big = Format("big", "RGB", 8, 8)
    path = save(build_image(big, np.zeros((1, 6000, 6000, 3), np.uint8)), tmp_path / "big.dcm")
    with Decoder(Settings(demo=True, decode_memory_bytes=1 << 28)) as small:
        assert _end(small, path) is Reason.TOO_BIG
        good = save(build_image(GREY, ecg_like(GREY)), tmp_path / "good.dcm")
        assert _end(small, good) == "pictures"
