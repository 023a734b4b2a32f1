"""From any picture of an ECG to the network's input: one function for training and service.

A device is known by its paper: frame, header, grid, colour, light. None of it is about the heart, so the input holds
the ink alone: dark trace on white, fitted to the input's size with the sheet's shape kept.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Transpose

from core.values import Box
from model.preprocessing_area import PixelBox, find_grid, find_traces
from model.preprocessing_ink import channels, ink_levels, paper_contrast, spread_ink, without_ruling
from model.preprocessing_orientation import DOUBTFUL, SURE, evidence_upright
from model.preprocessing_turn import find_tilt, turned

# Before the point: another input of upright sheets, for which a network must be trained again. Behind it: what else
# changes, such as which sheets are turned
PREPROCESSING_VERSION = "1.1"

WORK_SIDE = 1100  # px: long side at which a picture is examined; a printed millimetre is then about 4 px
NARROWEST = 0.92  # width over height of the area: part of a sheet is narrower, or one that lies on its side
FEWEST_TRACES = 3  # of a sheet; when part of one is laid on its side, fewer are found
MARGIN = 0.035  # of the traces' width: room for calibration pulses left of the first beat


def has_same_input(version: str) -> bool:
    """Whether a network that was trained with this version of preprocessing gets what it was trained on."""
    return version.split(".")[0] == PREPROCESSING_VERSION.split(".")[0]


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A network input and what was done to get it.

    `pixels` is uint8 (height, width, 3), trace dark on white, all channels equal. `area` is the part of the turned
    picture that is shown, in fractions. The picture was turned counter-clockwise by `quarters` of a circle and, as far
    as it was not level, by `angle` degrees; `doubtful` says that it seems not to lie upright, and how is not sure.
    `content` is where in the input the area lies, in fractions: the rest is white. For the readability gate, `ink` is
    the same area at working size, uint8 0 (paper) to 255 (ink), and `contrast` what it was made from; `traces` counts
    the connected lines wide enough to be a lead; `grid` is the part of the turned picture that is ruled; `ruled` says
    of each column of `ink` whether so much was taken off it as ruling that traces may have gone with it.
    """

    pixels: NDArray[np.uint8]
    area: Box
    angle: float
    quarters: int
    doubtful: bool
    content: Box
    ink: NDArray[np.uint8]
    contrast: NDArray[np.uint8]
    traces: int
    grid: Box
    ruled: NDArray[np.bool_]


def prepare(rgb: NDArray[np.uint8], height: int, width: int) -> Prepared:
    """Find the ECG in a picture, take off all that is not ink, and fit it to (height, width).

    A sheet that surely lies upside down or on its side is turned first.
    """
    picture, found, quarters = _lengthwise(shrink(rgb))
    picture, found, angle = _level(picture, found)
    evidence = evidence_upright(found.ink, found.area_in_ink())
    if evidence <= -SURE:
        found, quarters, evidence = _examine(picture.transpose(Transpose.ROTATE_180)), quarters + 2, -evidence
    doubtful = evidence < (SURE if quarters % 2 else -DOUBTFUL)
    ink = found.crop(found.ink)
    pixels, content = fit(ink, height, width)
    return Prepared(
        *(pixels, found.area_box(), angle, quarters, doubtful, content, ink, found.crop(found.contrast)),
        *(found.traces, found.grid_box(), found.ruled()),
    )


def ruled_ink(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], PixelBox]:
    """Ink of the ruled part of a picture that lies upright, made level, and where in it the traces are."""
    picture = shrink(rgb)
    _picture, found, _angle = _level(picture, _examine(picture))
    return found.ink, found.area_in_ink()


def _lengthwise(picture: Image.Image) -> tuple[Image.Image, "_Found", int]:
    """A picture whose traces run from left to right, and by how many quarters it was turned for that."""
    found = _examine(picture)
    if found.width_over_height() < NARROWEST:
        aside = picture.transpose(Transpose.ROTATE_90)
        other = _examine(aside)
        if other.traces >= FEWEST_TRACES and other.width_over_height() > 1 / NARROWEST:
            return aside, other, 1
    return picture, found, 0


def _level(picture: Image.Image, found: "_Found") -> tuple[Image.Image, "_Found", float]:
    """The picture without a tilt, and by how many degrees it was turned for that."""
    angle = find_tilt(found.ink)
    if not angle:
        return picture, found, 0.0
    picture = turned(picture, angle)
    return picture, _examine(picture), angle


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """Ink inside the grid, and where grid and traces lie, in pixels of the examined picture."""

    ink: NDArray[np.uint8]
    contrast: NDArray[np.uint8]
    grid: tuple[int, int, int, int]
    area: tuple[int, int, int, int]
    traces: int
    shape: tuple[int, int]
    taken: NDArray[np.bool_]

    def crop(self, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The area out of what was found inside the grid."""
        left, top, right, bottom = self.area_in_ink()
        return values[top:bottom, left:right]

    def area_in_ink(self) -> PixelBox:
        left, top, right, bottom = self.area
        x, y = self.grid[:2]
        return left - x, top - y, right - x, bottom - y

    def ruled(self) -> NDArray[np.bool_]:
        return self.taken[self.area[0] - self.grid[0] : self.area[2] - self.grid[0]]

    def width_over_height(self) -> float:
        left, top, right, bottom = self.area
        return (right - left) / (bottom - top)

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
    grid = find_grid(deep)
    left, top, right, bottom = grid
    contrast, taken = without_ruling(paper_contrast(light[top:bottom, left:right]))
    levels = ink_levels(contrast)
    ink = spread_ink(contrast, levels)
    traces = find_traces(ink)
    x0, y0, x1, y1 = traces.box
    room = round(MARGIN * (x1 - x0))
    area = (
        left + max(0, x0 - room),
        top + max(0, y0 - room),
        left + min(right - left, x1 + room),
        top + min(bottom - top, y1 + room),
    )
    return _Found(ink, contrast, grid, area, traces.count, (picture.height, picture.width), taken > levels[0])


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
