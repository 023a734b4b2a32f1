"""Pictures out of an image object: limits first, then each frame decoded and made RGB for viewing."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset

from core.errors import NotDiagnostic
from core.states import Reason
from core.values import Picture
from dicom_node.decoders import decode_frame
from dicom_node.ecg_object import Limits
from dicom_node.frames import list_frames
from dicom_node.luts import for_viewing
from dicom_node.pixel_header import PixelHeader, read_pixel_header

MOST_SIDE = 4400  # px: twice what a page scanned at 200 dpi has; more is averaged down before it leaves the decoder


def read_frames(dataset: Dataset, limits: Limits) -> tuple[tuple[Picture, ...], int]:
    """The first frames as pictures, and how many were left out. Raises NotDiagnostic."""
    header = read_pixel_header(dataset)
    _check_size(header, len(dataset.PixelData), limits)
    judged = min(header.frames, limits.max_frames)
    pictures = []
    for index, encoded in enumerate(list_frames(dataset, header, judged)):
        stored = decode_frame(encoded, header)
        rgb = for_viewing(stored, header, dataset, index)
        rgb = _square_pixels(_reduced(rgb), dataset)
        pictures.append(Picture(rgb, frame=index + 1 if header.frames > 1 else None))
    return tuple(pictures), header.frames - judged


def _check_size(header: PixelHeader, encoded_bytes: int, limits: Limits) -> None:
    """Refuse by the header alone, before any decoder sees a byte."""
    pixels = header.rows * header.columns * header.frames
    if pixels > limits.max_pixels:
        raise NotDiagnostic(Reason.TOO_BIG, f"{pixels} pixels, {limits.max_pixels} are allowed")
    decoded = pixels * header.samples * header.bits_allocated // 8
    if decoded > limits.max_ratio * max(encoded_bytes, 1 << 14):
        raise NotDiagnostic(Reason.TOO_BIG, f"{encoded_bytes} bytes claim to hold {decoded}")


def _reduced(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    factor = -(-max(rgb.shape[:2]) // MOST_SIDE)
    return np.asarray(Image.fromarray(rgb).reduce(factor)) if factor > 1 else rgb


def _square_pixels(rgb: NDArray[np.uint8], dataset: Dataset) -> NDArray[np.uint8]:
    """A fax's pixels may be twice as high as wide: stretch the coarser side, so that a millimetre is a millimetre."""
    ratio = dataset.get("PixelAspectRatio")
    if not ratio or len(ratio) != 2 or min(map(int, ratio)) <= 0:
        return rgb
    vertical, horizontal = map(int, ratio)
    height, width = rgb.shape[:2]
    if not 0.99 <= vertical / horizontal <= 1.01 and 0.2 <= vertical / horizontal <= 5:
        size = (width, round(height * vertical / horizontal))
        if vertical < horizontal:
            size = (round(width * horizontal / vertical), height)
        return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR))
    return rgb
