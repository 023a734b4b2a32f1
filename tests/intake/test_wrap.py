"""`ecg-node push` makes correct objects of PNG, JPEG, TIFF and PDF files, and loses nothing of the picture."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from core.errors import Rejected
from dicom_node.ecg_object import EcgObject, Limits
from dicom_node.image import read_ecg
from dicom_node.scu import Outgoing
from dicom_node.wrap import outgoing_of
from tests.intake.pdf_objects import build_pdf
from tests.results.validators import dciodvfy

HEIGHT, WIDTH = 61, 95  # odd, so that odd lengths have to be padded


def _pixels() -> NDArray[np.uint8]:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([x * 2, y * 3, 255 - x * 2], axis=-1).astype(np.uint8)


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _colour() -> Image.Image:
    return Image.fromarray(_pixels())


def _transparent() -> Image.Image:
    image = _colour().convert("RGBA")
    image.putalpha(Image.new("L", image.size, 0))
    return image


def _deep_grey() -> Image.Image:
    return Image.fromarray((np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) * 11).astype(np.uint16))


def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side
    return _saved(_colour(), "JPEG", quality=95, exif=exif)


FILES: dict[str, Callable[[], bytes]] = {
    "rgb.png": lambda: _saved(_colour(), "PNG"),
    "grey.png": lambda: _saved(_colour().convert("L"), "PNG"),
    "palette.png": lambda: _saved(_colour().convert("P"), "PNG"),
    "one-bit.png": lambda: _saved(_colour().convert("1"), "PNG"),
    "sixteen-bit.png": lambda: _saved(_deep_grey(), "PNG"),
    "transparent.png": lambda: _saved(_transparent(), "PNG"),
    "rgb.jpg": lambda: _saved(_colour(), "JPEG", quality=95),
    "444.jpg": lambda: _saved(_colour(), "JPEG", quality=95, subsampling=0),
    "grey.jpg": lambda: _saved(_colour().convert("L"), "JPEG", quality=95),
    "progressive.jpg": lambda: _saved(_colour(), "JPEG", quality=95, progressive=True),
    "cmyk.jpg": lambda: _saved(_colour().convert("CMYK"), "JPEG", quality=95),
    "turned.jpg": _turned,
    "rgb.tif": lambda: _saved(_colour(), "TIFF", compression="tiff_lzw"),
    "fax.tif": lambda: _saved(_colour().convert("1"), "TIFF", compression="group4"),
    "pages.tif": lambda: _saved(_colour(), "TIFF", save_all=True, append_images=[Image.new("L", (40, 30), 7)]),
    "report.pdf": build_pdf,
}


def _wrapped(name: str, folder: Path) -> tuple[Outgoing, Path]:
    file = folder / name
    file.write_bytes(FILES[name]())
    one = outgoing_of(file, patient_id="P1", patient_name="Test^Ecg")
    assert one.content is not None
    path = folder / "object.dcm"
    path.write_bytes(one.content)
    return one, path


def _read(name: str, folder: Path) -> EcgObject:
    return read_ecg(_wrapped(name, folder)[1], Limits())


@pytest.mark.parametrize("name", FILES)
def test_a_wrapped_file_is_a_valid_object(name: str, tmp_path: Path) -> None:
    assert dciodvfy(_wrapped(name, tmp_path)[1]) == []


@pytest.mark.parametrize(("name", "most"), [("rgb.png", 0), ("rgb.tif", 0), ("444.jpg", 6), ("progressive.jpg", 12)])
def test_a_picture_comes_out_as_it_went_in(name: str, most: int, tmp_path: Path) -> None:
    (picture,) = _read(name, tmp_path).pictures
    assert np.abs(picture.rgb.astype(int) - _pixels()).max() <= most


def test_a_jpeg_stream_is_not_compressed_once_more(tmp_path: Path) -> None:
    one, _ = _wrapped("rgb.jpg", tmp_path)
    assert one.content is not None
    assert (tmp_path / "rgb.jpg").read_bytes() in one.content


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    (picture,) = _read("transparent.png", tmp_path).pictures
    assert (picture.rgb == 255).all()


def test_sixteen_bits_keep_their_greys(tmp_path: Path) -> None:
    (picture,) = _read("sixteen-bit.png", tmp_path).pictures
    np.testing.assert_allclose(picture.rgb[..., 0], np.asarray(_deep_grey()) / 257, atol=0.6)


def test_a_photograph_is_turned_as_its_camera_said(tmp_path: Path) -> None:
    (picture,) = _read("turned.jpg", tmp_path).pictures
    assert np.abs(picture.rgb.astype(int) - np.rot90(_pixels(), -1)).mean() < 6


def test_each_page_of_a_tiff_is_a_frame(tmp_path: Path) -> None:
    first, second = _read("pages.tif", tmp_path).pictures
    assert (first.frame, second.frame) == (1, 2)
    np.testing.assert_array_equal(first.rgb, _pixels())
    assert (second.rgb[:30, :40] == 7).all()
    assert (second.rgb[30:] == 255).all()


def test_a_file_meta_that_names_another_object_is_not_sent(tmp_path: Path) -> None:
    one, path = _wrapped("rgb.png", tmp_path)
    data = path.read_bytes()
    uid = one.sop_instance_uid.encode()
    other = uid[:-1] + (b"1" if uid[-1:] != b"1" else b"2")
    path.write_bytes(data.replace(uid, other, 1))
    sent = outgoing_of(path)
    assert sent.sop_instance_uid == one.sop_instance_uid
    assert sent.content is not None
    assert other not in sent.content


@pytest.mark.parametrize("content", [b"", b"plain text", b"\x89PNG\r\n\x1a\n cut", b"\xff\xd8\xff"], ids=repr)
def test_anything_else_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "thing.bin"
    path.write_bytes(content)
    with pytest.raises(Rejected, match=r"thing\.bin: neither DICOM nor PDF, JPEG, PNG or TIFF"):
        outgoing_of(path)
