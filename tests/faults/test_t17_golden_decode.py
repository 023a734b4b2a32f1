"""T17: every transfer syntax, photometric interpretation and depth, made by DCMTK's and GDCM's tools, is decoded as
their own decoders do it, or refused; none is silently wrong.

Seen to fail with a decoder exchanged: GDCM's RLE on 16-bit colour, libjpeg's guess on RGB without a marker.
"""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames

from core.errors import NotDiagnostic
from core.states import Reason
from dicom_node.decoders import decode_frame
from dicom_node.ecg_object import Limits
from dicom_node.frames import list_frames
from dicom_node.image import read_ecg
from dicom_node.pixel_header import read_pixel_header
from tests.intake.image_objects import Format, build_image, convert, ecg_like, save, stored_values

FORMATS = (
    Format("grey8", "MONOCHROME2", 8, 8),
    Format("grey8_inverse", "MONOCHROME1", 8, 8),
    Format("grey8_signed", "MONOCHROME2", 8, 8, signed=True),
    Format("grey10", "MONOCHROME2", 16, 10),
    Format("grey12", "MONOCHROME2", 16, 12),
    Format("grey12_signed", "MONOCHROME2", 16, 12, signed=True),
    Format("grey12_frames", "MONOCHROME2", 16, 12, frames=3),
    Format("grey16", "MONOCHROME2", 16, 16),
    Format("grey16_signed", "MONOCHROME2", 16, 16, signed=True),
    Format("rgb", "RGB", 8, 8),
    Format("rgb_planes", "RGB", 8, 8, planar=1),
    Format("rgb_frames", "RGB", 8, 8, frames=3),
    Format("rgb16", "RGB", 16, 16),
    Format("ybr", "YBR_FULL", 8, 8),
    Format("palette8", "PALETTE COLOR", 8, 8),
    Format("palette12", "PALETTE COLOR", 16, 12),
)
# name: (encoder, decoder to compare with, whether it keeps every bit)
ENCODINGS = {
    "big_endian": (("dcmconv", "+tb"), ("dcmconv", "+te"), True),
    "implicit": (("dcmconv", "+ti"), ("dcmconv", "+te"), True),
    "jpeg_baseline": (("dcmcjpeg", "+eb"), ("dcmdjpeg", "+cp"), False),
    "jpeg_baseline_444": (("dcmcjpeg", "+eb", "+s4"), ("dcmdjpeg", "+cp"), False),
    "jpeg_baseline_rgb": (("dcmcjpeg", "+eb", "+cr"), ("dcmdjpeg", "+cp"), False),
    "jpeg_baseline_gdcm": (("gdcmconv", "--jpeg", "--lossy", "-q", "90"), ("dcmdjpeg", "+cp"), False),
    "jpeg_extended": (("dcmcjpeg", "+ee"), ("dcmdjpeg", "+cp"), False),
    "jpeg_lossless": (("dcmcjpeg", "+e1"), ("dcmdjpeg", "+cn"), True),
    "jpeg_lossless_sv4": (("dcmcjpeg", "+el", "+sv", "4"), ("dcmdjpeg", "+cn"), True),
    "jpeg_lossless_sv7": (("dcmcjpeg", "+el", "+sv", "7"), ("dcmdjpeg", "+cn"), True),
    "jpeg_lossless_gdcm": (("gdcmconv", "--jpeg"), ("dcmdjpeg", "+cn"), True),
    "jpeg_ls": (("dcmcjpls", "+el"), ("dcmdjpls",), True),
    "jpeg_ls_by_sample": (("dcmcjpls", "+el", "+is"), ("dcmdjpls",), True),
    "jpeg_ls_by_plane": (("dcmcjpls", "+el", "+in"), ("gdcmconv", "--raw"), True),
    "jpeg_ls_near": (("dcmcjpls", "+en"), ("dcmdjpls",), False),
    "jpeg_ls_gdcm": (("gdcmconv", "--jpegls"), ("dcmdjpls",), True),
    "jpeg_2000": (("gdcmconv", "--j2k"), ("gdcmconv", "--raw"), True),
    "jpeg_2000_lossy": (("gdcmconv", "--j2k", "--lossy", "-q", "80"), ("gdcmconv", "--raw"), False),
    "rle": (("dcmcrle",), ("dcmdrle",), True),
    "rle_gdcm": (("gdcmconv", "--rle"), ("dcmdrle",), True),
}
# What the tools cannot make of a format
NOT_MADE = {
    "jpeg_ls_near": {"grey8_signed", "grey12_signed", "grey16_signed", "palette8", "palette12"},
    "jpeg_2000_lossy": {"palette8", "palette12"},
    "jpeg_baseline_gdcm": {"grey12_signed", "grey16", "grey16_signed", "palette8", "palette12", "rgb16"},
}
# GDCM writes these as 16-bit DCT, which T.81 does not know and dcmdjpeg refuses as well
REFUSED = {("grey10", "jpeg_baseline_gdcm"), ("grey12", "jpeg_baseline_gdcm"), ("grey12_frames", "jpeg_baseline_gdcm")}
# The tool's own decoder is wrong on these, against the original that it encoded
REFERENCE_FAILS = {("rgb_frames", "jpeg_ls_by_plane")}

WHOLE = pytest.mark.faults
# Each format and each encoding once or more; the whole matrix runs in `make faults`
SOME = {(FORMATS[n % len(FORMATS)].name, encoding) for n, encoding in enumerate(ENCODINGS)}
CASES = [
    pytest.param(
        format_, encoding, id=f"{format_.name}-{encoding}", marks=() if (format_.name, encoding) in SOME else WHOLE
    )
    for format_ in FORMATS
    for encoding in ENCODINGS
    if format_.name not in NOT_MADE.get(encoding, ())
]


@pytest.mark.parametrize(("format_", "encoding"), CASES)
def test_an_encoded_picture_is_decoded_as_its_reference_decoder_does(
    format_: Format, encoding: str, tmp_path: Path
) -> None:
    encode, decode, lossless = ENCODINGS[encoding]
    original = ecg_like(format_)
    plain = save(build_image(format_, original), tmp_path / "plain.dcm")
    encoded, reference = tmp_path / "encoded.dcm", tmp_path / "reference.dcm"
    assert convert(plain, encoded, *encode)
    if (format_.name, encoding) in REFUSED:
        with pytest.raises(NotDiagnostic) as refused:
            read_ecg(encoded, Limits())
        assert refused.value.reason is Reason.UNSUPPORTED_ENCODING
        return
    if lossless:
        np.testing.assert_array_equal(_our_stored_values(encoded), original)
    if (format_.name, encoding) in REFERENCE_FAILS:
        return
    assert convert(encoded, reference, *decode)
    _assert_same(encoded, reference)


def _assert_same(encoded: Path, reference: Path) -> None:
    """Stored values are equal; colour that a decoder transforms is compared as RGB, within one step of eight bits."""
    header = pydicom.dcmread(reference, stop_before_pixels=True)
    if header.SamplesPerPixel == 1:
        np.testing.assert_array_equal(_our_stored_values(encoded), stored_values(reference))
        return
    pictures = np.stack([picture.rgb for picture in read_ecg(encoded, Limits()).pictures]).astype(int)
    expected = stored_values(reference) >> (header.BitsStored - 8)
    if header.PhotometricInterpretation != "RGB":
        expected = _rgb_of(expected)
    assert np.abs(pictures - expected).max() <= 1


def _rgb_of(ybr: np.ndarray) -> np.ndarray:
    """ITU-R BT.601 full range, as PS3.3 C.7.6.3.1.2 gives it the other way round."""
    forward = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    return np.clip(np.rint((ybr - [0, 128, 128]) @ np.linalg.inv(forward).T), 0, 255)


def _our_stored_values(path: Path) -> np.ndarray:
    dataset = pydicom.dcmread(path)
    header = read_pixel_header(dataset)
    frames = [decode_frame(frame, header).values for frame in list_frames(dataset, header, header.frames)]
    return np.stack(frames).reshape(header.frames, header.rows, header.columns, header.samples).astype(np.int64)


@pytest.mark.parametrize("part", [pytest.param(0.3, marks=WHOLE), 0.7, pytest.param(0.97, marks=WHOLE)])
@pytest.mark.parametrize("encoding", [name for name in ENCODINGS if name not in ("big_endian", "implicit")])
@pytest.mark.parametrize("format_", [FORMATS[0], pytest.param(FORMATS[9], marks=WHOLE)], ids=lambda one: one.name)
def test_a_stream_that_is_cut_off_is_damaged(format_: Format, encoding: str, part: float, tmp_path: Path) -> None:
    """A decoder may fill what is missing with grey and call it a picture."""
    plain = save(build_image(format_, ecg_like(format_)), tmp_path / "plain.dcm")
    assert convert(plain, tmp_path / "whole.dcm", *ENCODINGS[encoding][0])
    dataset = pydicom.dcmread(tmp_path / "whole.dcm")
    (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
    dataset.PixelData = encapsulate([frame[: int(len(frame) * part)]])
    with pytest.raises(NotDiagnostic) as refused:
        read_ecg(save(dataset, tmp_path / "cut.dcm"), Limits())
    assert refused.value.reason is Reason.DAMAGED


@WHOLE
@pytest.mark.parametrize("encoding", NOT_MADE)
def test_what_the_tools_are_said_not_to_make_they_do_not_make(encoding: str, tmp_path: Path) -> None:
    for format_ in FORMATS:
        if format_.name in NOT_MADE[encoding]:
            plain = save(build_image(format_, ecg_like(format_)), tmp_path / f"{format_.name}.dcm")
            assert not convert(plain, tmp_path / f"{format_.name}_{encoding}.dcm", *ENCODINGS[encoding][0])
