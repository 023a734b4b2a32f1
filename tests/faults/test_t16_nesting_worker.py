"""T16, the worker's part: sequences nested deeper than the listener lets in end one object and no more."""

import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import NotDiagnostic
from core.settings import Settings
from core.states import Reason
from tests.intake.image_objects import Format, build_image, ecg_like, save
from worker.decoder import Decoder

LONG = pytest.mark.faults
GREY = Format("grey", "MONOCHROME2", 8, 8)
_END = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder(Settings(demo=True, decode_timeout_s=5)) as running:
        yield running


@pytest.mark.parametrize(
    "tag", [(0x0008, 0x1140), *(pytest.param(one, marks=LONG) for one in ((0x5200, 0x9229), (0x0029, 0x1010)))], ids=str
)
@pytest.mark.parametrize("depth", [64, 65, 3_000, pytest.param(100_000, marks=LONG)])
def test_deep_nesting_ends_in_a_picture_or_a_reason_and_the_next_object_is_read(
    tag: tuple[int, int], depth: int, decoder: Decoder, tmp_path: Path
) -> None:
    path = save(build_image(GREY, ecg_like(GREY)), tmp_path / "plain.dcm")
    data = path.read_bytes()
    opening = struct.pack("<HH4sI", *tag, b"SQ\0\0", 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    at = data.index(b"\x28\x00\x02\x00") if tag[0] < 0x0028 else data.index(b"\xe0\x7f\x10\x00")
    deep = tmp_path / "deep.dcm"
    deep.write_bytes(data[:at] + opening * depth + _END * depth + data[at:])
    began = time.monotonic()
    end: str | Reason = "pictures"
    try:
        decoder.pictures_of(deep)
    except NotDiagnostic as refused:
        end = refused.reason
    assert end == "pictures" if depth <= 65 else end in ("pictures", Reason.DAMAGED, Reason.TOO_BIG)
    assert time.monotonic() - began < 7
    assert len(decoder.pictures_of(path).pictures) == 1
