"""From any picture of an ECG to the network's input: one function for training and service.

A device is known by its paper: frame, header, grid, colour, light. None of it is about the heart, so the input holds
the ink alone: dark trace on white, fitted to the input's size with the sheet's shape kept.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.values import Box
from model.preprocessing_area import find_grid, find_traces
from model.preprocessing_ink import channels, ink_levels, paper_contrast, spread_ink, without_ruling
from model.preprocessing_turn import find_tilt, turned

PREPROCESSING_VERSION = "1"

WORK_SIDE = 1100  # px: long side at which a picture is examined; a printed millimetre is then about 4 px
MARGIN = 0.035  # of the traces' width: room for calibration pulses left of the first beat


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A network input and what was done to get it.

    `pixels` is uint8 (height, width, 3), trace dark on white, all channels equal. `area` is the part of the turned
    picture that is shown, in fractions; `angle` is how far the picture was turned counter-clockwise, in degrees.
    `content` is where in the input the area lies, in fractions: the rest is white. `ink` is the same area at working
    size, uint8 0 (paper) to 255 (ink), for the readability gate; `traces` counts the connected lines wide enough to be
    a lead; `grid` is the part of the turned picture that is ruled.
    """

    pixels: NDArray[np.uint8]
    area: Box
    angle: float
    content: Box
    ink: NDArray[np.uint8]
    traces: int
    grid: Box


def prepare(rgb: NDArray[np.uint8], height: int, width: int) -> Prepared:
    """Find the ECG in a picture, take off all that is not ink, and fit it to (height, width)."""
    picture = shrink(rgb)
    found = _examine(picture)
    angle = find_tilt(found.ink)
    if angle:
        picture = turned(picture, angle)
        found = _examine(picture)
    ink = found.crop()
    pixels, content = fit(ink, height, width)
    return Prepared(pixels, found.area_box(), angle, content, ink, found.traces, found.grid_box())


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """Ink inside the grid, and where grid and traces lie, in pixels of the examined picture."""

    ink: NDArray[np.uint8]
    grid: tuple[int, int, int, int]
    area: tuple[int, int, int, int]
    traces: int
    shape: tuple[int, int]

    def crop(self) -> NDArray[np.uint8]:
        left, top, right, bottom = self.area
        x, y = self.grid[:2]
        return self.ink[top - y : bottom - y, left - x : right - x]

    def area_box(self) -> Box:
        return _fractions(self.area, self.shape)

    def grid_box(self) -> Box:
        return _fractions(self.grid, self.shape)


def _fractions(box: tuple[int, int, int, int], shape: tuple[int, int]) -> Box:
    left, top, right, bottom = box
    return Box(left / shape[1], top / shape[0], right / shape[1], bottom / shape[0])


def shrink(rgb: NDArray[np.uint8]) -> Image.Image:
    """The picture at working size, by whole steps so that each pixel is a true mean."""
    image = Image.fromarray(np.ascontiguousarray(rgb), "RGB") if rgb.ndim == 3 else Image.fromarray(rgb).convert("RGB")
    factor = max(1, round(max(image.size) / WORK_SIDE))
    return image.reduce(factor) if factor > 1 else image


def _examine(picture: Image.Image) -> _Found:
    light, deep = channels(picture)
    grid = find_grid(paper_contrast(deep))
    left, top, right, bottom = grid
    contrast = without_ruling(paper_contrast(light[top:bottom, left:right]))
    ink = spread_ink(contrast, ink_levels(contrast))
    traces = find_traces(ink)
    x0, y0, x1, y1 = traces.box
    room = round(MARGIN * (x1 - x0))
    area = (
        left + max(0, x0 - room),
        top + max(0, y0 - room),
        left + min(right - left, x1 + room),
        top + min(bottom - top, y1 + room),
    )
    return _Found(ink, grid, area, traces.count, (picture.height, picture.width))


def fit(ink: NDArray[np.uint8], height: int, width: int) -> tuple[NDArray[np.uint8], Box]:
    """Scale ink to the input with its shape kept, in the middle of white; thin lines keep their darkness."""
    scale = min(height / ink.shape[0], width / ink.shape[1])
    rows, columns = max(1, round(ink.shape[0] * scale)), max(1, round(ink.shape[1] * scale))
    small = np.asarray(
        Image.fromarray(ink).resize((columns, rows), Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR)
    )
    gain = min(2.2, max(1.0, 0.9 / scale))
    top, left = (height - rows) // 2, (width - columns) // 2
    grey = np.full((height, width), 255, np.uint8)
    grey[top : top + rows, left : left + columns] = 255 - np.minimum(255.0, gain * small).astype(np.uint8)
    content = Box(left / width, top / height, (left + columns) / width, (top + rows) / height)
    return np.repeat(grey[:, :, None], 3, axis=2), content
