"""What becomes of stored values: the same grey and colour as DCMTK's renderer shows."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicom_node.ecg_object import Limits
from dicom_node.image import read_ecg
from tests.conftest import need_tool
from tests.intake.image_objects import Format, build_image, convert, ecg_like, put_pixels, save

GREY8 = Format("grey8", "MONOCHROME2", 8, 8)
GREY12 = Format("grey12", "MONOCHROME2", 16, 12)
GREY12_INVERSE = Format("grey12_inverse", "MONOCHROME1", 16, 12)
GREY12_SIGNED = Format("grey12_signed", "MONOCHROME2", 16, 12, signed=True)
GREY16 = Format("grey16", "MONOCHROME2", 16, 16)


def _picture(path: Path) -> NDArray[np.int64]:
    (picture,) = read_ecg(path, Limits()).pictures
    return picture.rgb.astype(np.int64)


def _dcmtk_picture(path: Path, *options: str) -> NDArray[np.int64]:
    shown = path.with_suffix(".pnm")
    subprocess.run([need_tool("dcm2pnm"), "+op", *options, str(path), str(shown)], check=True, timeout=60)
    return np.asarray(Image.open(shown).convert("RGB")).astype(np.int64)


def _window(centre: float, width: float, function: str = "") -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        dataset.WindowCenter, dataset.WindowWidth = centre, width
        if function:
            dataset.VOILUTFunction = function

    return change


def _lut(keyword: str, first: int, entries: int, bits: int) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        item = Dataset()
        item.LUTDescriptor = [entries, first, bits]
        item["LUTDescriptor"].VR = "SS" if dataset.PixelRepresentation else "US"
        curve = np.sqrt(np.linspace(0, 1, entries)) * (2**bits - 1)
        item.LUTData = np.rint(curve).astype("<u2").tobytes()
        item["LUTData"].VR = "OW"
        if keyword == "ModalityLUTSequence":
            item.ModalityLUTType = "US"
        setattr(dataset, keyword, Sequence([item]))

    return change


def _rescale(slope: float, intercept: float) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = slope, intercept, "US"

    return change


def _both(*changes: Callable[[Dataset], None]) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        for one in changes:
            one(dataset)

    return change


@pytest.mark.parametrize(
    ("format_", "change", "options"),
    [
        pytest.param(GREY8, _window(100, 80), ["+Wi", "1"], id="window-8"),
        pytest.param(GREY8, _window(128, 256), ["+Wi", "1"], id="window-of-all-values"),
        pytest.param(GREY12, _window(1500, 900), ["+Wi", "1"], id="window-12"),
        pytest.param(GREY12_INVERSE, _window(1500, 900), ["+Wi", "1"], id="window-inverse"),
        pytest.param(GREY12_SIGNED, _window(-300, 1200), ["+Wi", "1"], id="window-signed"),
        pytest.param(GREY12, _window(1500, 900, "SIGMOID"), ["+Wi", "1"], id="sigmoid"),
        pytest.param(GREY12, _lut("VOILUTSequence", 500, 2000, 12), ["+Wl", "1"], id="voi-lut"),
        pytest.param(GREY12_SIGNED, _lut("VOILUTSequence", -1000, 2000, 8), ["+Wl", "1"], id="voi-lut-signed"),
        pytest.param(GREY12, _both(_rescale(2, -1000), _window(2500, 3000)), ["+Wi", "1"], id="rescale"),
        pytest.param(GREY12, _both(_rescale(-1, 4095), _window(2000, 3000)), ["+Wi", "1"], id="rescale-downward"),
        pytest.param(
            GREY12,
            _both(_lut("ModalityLUTSequence", 0, 4096, 12), _window(2000, 2000)),
            ["+Wi", "1"],
            id="modality-lut",
        ),
        pytest.param(GREY12, _rescale(1, 0), ["+Wm"], id="no-window-12"),
        pytest.param(GREY12_SIGNED, _rescale(1, 0), ["+Wm"], id="no-window-signed"),
        pytest.param(GREY16, _rescale(1, 0), ["+Wm"], id="no-window-16"),
        pytest.param(GREY8, _rescale(1, 0), [], id="no-window-8"),
        pytest.param(Format("p", "PALETTE COLOR", 8, 8), _rescale(1, 0), [], id="palette-8"),
        pytest.param(Format("p", "PALETTE COLOR", 16, 12), _rescale(1, 0), [], id="palette-12"),
        pytest.param(Format("r", "RGB", 8, 8, planar=1), _rescale(1, 0), [], id="rgb-planes"),
    ],
)
def test_a_picture_looks_as_dcmtk_shows_it(
    format_: Format, change: Callable[[Dataset], None], options: list[str], tmp_path: Path
) -> None:
    dataset = build_image(format_, ecg_like(format_))
    change(dataset)
    path = save(dataset, tmp_path / "picture.dcm")
    assert np.abs(_picture(path) - _dcmtk_picture(path, *options)).max() <= 1


@pytest.mark.parametrize("planar", [0, 1])
def test_full_colour_difference_looks_as_dcmtk_shows_it(planar: int, tmp_path: Path) -> None:
    """Two steps apart at most: dcm2pnm adds rounded integers."""
    format_ = Format("y", "YBR_FULL", 8, 8, planar=planar)
    path = save(build_image(format_, ecg_like(format_)), tmp_path / "picture.dcm")
    assert np.abs(_picture(path) - _dcmtk_picture(path)).max() <= 2


@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "YBR_PARTIAL_422"])
def test_subsampled_colour_looks_as_dcmtk_shows_it(photometric: str, tmp_path: Path) -> None:
    format_ = Format("y", "RGB", 8, 8)
    values = ecg_like(format_)
    dataset = build_image(format_, values)
    pairs = values[0].reshape(-1, 2, 3)
    dataset.PhotometricInterpretation = photometric
    put_pixels(dataset, np.stack([pairs[:, 0, 0], pairs[:, 1, 0], pairs[:, 0, 1], pairs[:, 0, 2]], axis=-1))
    path = save(dataset, tmp_path / "picture.dcm")
    assert np.abs(_picture(path) - _dcmtk_picture(path)).max() <= 2


def test_one_bit_pictures_are_black_and_white(tmp_path: Path) -> None:
    """Each frame begins in the middle of a byte: 61 x 94 is no multiple of 8. Bit 0 is the first pixel (PS3.5 8.2)."""
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2, (3, 61, 94, 1))
    dataset = build_image(Format("bits", "MONOCHROME2", 8, 8, frames=3), bits)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7.1"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 1, 1, 0
    packed = np.packbits(bits.ravel().astype(np.uint8), bitorder="little").tobytes()
    dataset.PixelData = packed + b"\0" * (len(packed) % 2)
    for syntax in ("+te", "+tb", "+ti"):
        path = tmp_path / f"bits{syntax}.dcm"
        assert convert(save(dataset, tmp_path / "bits.dcm"), path, "dcmconv", syntax)
        pictures = read_ecg(path, Limits()).pictures
        assert [picture.frame for picture in pictures] == [1, 2, 3]
        for picture, frame in zip(pictures, bits, strict=True):
            np.testing.assert_array_equal(picture.rgb, np.repeat(frame * 255, 3, axis=-1))


def test_bits_beside_the_stored_ones_are_not_seen(tmp_path: Path) -> None:
    """An old overlay lives above the stored bits, or below them where the high bit is the top one (PS3.5 8.1.1)."""
    values = ecg_like(GREY12)
    dataset = build_image(GREY12, values)
    path = save(dataset, tmp_path / "plain.dcm")
    expected = _picture(path)
    put_pixels(dataset, values | 0xA000)
    np.testing.assert_array_equal(_picture(save(dataset, tmp_path / "above.dcm")), expected)
    put_pixels(dataset, (values << 4) | 0x000A)
    dataset.HighBit = 15
    np.testing.assert_array_equal(_picture(save(dataset, tmp_path / "below.dcm")), expected)


def test_padding_does_not_stretch_the_grey(tmp_path: Path) -> None:
    values = np.clip(ecg_like(GREY12), 1000, 2000)
    expected = _picture(save(build_image(GREY12, values), tmp_path / "plain.dcm"))
    padded = values.copy()
    padded[:, :10] = 4095
    dataset = build_image(GREY12, padded)
    dataset.PixelPaddingValue = 4095
    seen = _picture(save(dataset, tmp_path / "padded.dcm"))
    np.testing.assert_array_equal(seen[10:], expected[10:])
    assert (seen[:10] == 255).all()


def test_each_frame_has_its_own_window(tmp_path: Path) -> None:
    """Multi-frame objects may keep the window in functional groups (PS3.3 C.7.6.16.2.10)."""
    format_ = Format("frames", "MONOCHROME2", 16, 12, frames=2)
    values = ecg_like(format_)
    dataset = build_image(format_, values)
    groups, singles = [], []
    for number, (centre, width) in enumerate(((1000, 800), (3000, 500))):
        window = Dataset()
        window.WindowCenter, window.WindowWidth = centre, width
        group = Dataset()
        group.FrameVOILUTSequence = Sequence([window])
        groups.append(group)
        single = build_image(GREY12, values[number : number + 1])
        _window(centre, width)(single)
        singles.append(_picture(save(single, tmp_path / f"{number}.dcm")))
    dataset.PerFrameFunctionalGroupsSequence = Sequence(groups)
    pictures = read_ecg(save(dataset, tmp_path / "frames.dcm"), Limits()).pictures
    for picture, single in zip(pictures, singles, strict=True):
        np.testing.assert_array_equal(picture.rgb, single)


def test_a_fax_with_high_pixels_is_stretched_to_its_true_shape(tmp_path: Path) -> None:
    dataset = build_image(GREY8, ecg_like(GREY8))
    dataset.PixelAspectRatio = [2, 1]
    assert _picture(save(dataset, tmp_path / "fax.dcm")).shape == (122, 94, 3)


def test_only_as_many_frames_as_allowed_are_judged_and_the_rest_is_counted(tmp_path: Path) -> None:
    format_ = Format("frames", "RGB", 8, 8, frames=5)
    path = save(build_image(format_, ecg_like(format_)), tmp_path / "frames.dcm")
    found = read_ecg(path, Limits(max_frames=3))
    assert ([picture.frame for picture in found.pictures], found.left_out) == ([1, 2, 3], 2)


def test_a_huge_scan_is_averaged_down(tmp_path: Path) -> None:
    values = np.zeros((1, 100, 9000, 1), np.int64)
    values[:, :, ::2] = 200
    path = save(build_image(GREY8, values), tmp_path / "wide.dcm")
    picture = _picture(path)
    assert picture.shape == (33, 3000, 3) or picture.shape == (34, 3000, 3)
    assert 60 <= picture.min() <= picture.max() <= 140
