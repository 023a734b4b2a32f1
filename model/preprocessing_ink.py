"""What is ink on a sheet: darker than the paper around it, not ruled, as strong as the strongest line."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops
from scipy import ndimage

CELL = 4  # px: a stroke at working size is narrower, so the lightest pixel of a cell is paper
DARK_GROUND = 90  # of 255: a monitor's
REACH = 5  # cells: dark things up to 20 px wide are ink, larger ones are ground


def channels(picture: Image.Image) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The lightest and the darkest channel of each pixel, as lines dark on light.

    A coloured grid is nearly white in the lightest, so that most of it is gone before ink is looked for; in the
    darkest it is plainest.
    """
    red, green, blue = picture.split()
    light = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    deep = ImageChops.darker(ImageChops.darker(red, green), blue)
    if _is_negative(light):
        light, deep = ImageChops.invert(deep), ImageChops.invert(light)
    return np.asarray(light), np.asarray(deep)


def _is_negative(light: Image.Image) -> bool:
    """Whether lines are lighter than their ground, as on a monitor's picture."""
    some = np.asarray(light)[::3, ::3]
    if 2 * np.count_nonzero(some < DARK_GROUND) < some.size - 1:
        return False  # without sorting: the middle one is not dark
    low, middle, high = np.percentile(some, (1, 50, 99))
    return bool(middle < DARK_GROUND and high - middle > 2 * (middle - low))


def paper_contrast(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """How much darker than its paper each pixel is: 0 as light, 255 black."""
    part = _of_paper(values)
    np.minimum(part, 255.0, out=part)
    contrast = part.astype(np.uint8)
    return np.subtract(255, contrast, out=contrast)


def darker_than(values: NDArray[np.uint8], contrast: int) -> NDArray[np.bool_]:
    """Where `paper_contrast` is more than this."""
    return _of_paper(values) < 255 - contrast


def _of_paper(values: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Each pixel's brightness, where that of its paper is 255. In one array: a new one costs as much as its sums."""
    part = np.maximum(_paper(values), 16.0)
    np.divide(255.0, part, out=part)
    return np.multiply(values, part, out=part)


def _paper(values: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The paper's brightness under every pixel: lightest of each cell, closed over strokes, smoothed."""
    rows, columns = -(-values.shape[0] // CELL), -(-values.shape[1] // CELL)
    padded = np.pad(values, ((0, rows * CELL - values.shape[0]), (0, columns * CELL - values.shape[1])), "edge")
    cells = lightest_of_cells(padded, CELL)
    closed = ndimage.grey_closing(cells, size=(REACH, REACH), mode="nearest")
    smooth = ndimage.uniform_filter(closed.astype(np.float32), REACH, mode="nearest")
    grown = Image.fromarray(smooth).resize((columns * CELL, rows * CELL), Image.Resampling.BILINEAR)
    return np.asarray(grown)[: values.shape[0], : values.shape[1]]


def lightest_of_cells(values: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The greatest value of each square of `size`, (height / size, width / size): rows first, which is far faster."""
    rows = values.reshape(-1, size, values.shape[1]).max(axis=1)
    most = rows[:, ::size]
    for start in range(1, size):
        most = np.maximum(most, rows[:, start::size])
    return most


RULED_COLUMN = 0.62  # quantile: a column dark over 38 % of its height is a rule or a lead separator, never a trace
RULED_ROW = 0.50  # a row may be dark over half its width and yet be a flat lead: it must recur to be a rule
FRAME_ROW = 0.08  # dark over 92 % of the width: a frame
NEAR, FAR = 8, 40  # px: the next rule is farther than a stroke's width and nearer than the next lead


def without_ruling(contrast: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Take off lines that run through the whole sheet: grid, frame, lead separators.

    Also how much was taken off every column: where the QRS complexes of all rows meet in columns, as those of fast
    beats in crowded rows do, they look like a separator.
    """
    (columns,) = _quantiles(contrast[::2].T, RULED_COLUMN)
    left = _less(contrast, columns[None, :])
    frame, half = _quantiles(left[:, ::2], FRAME_ROW, RULED_ROW)
    rows = np.maximum(_recurring(half), frame)
    return _less(left, rows[:, None]), columns


def _recurring(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each row's darkness, as far as a neighbour at a rule's distance shares it."""
    size = FAR - NEAR
    strongest = ndimage.maximum_filter1d(np.pad(rows, (FAR, FAR + 1)), size)
    above, below = strongest[size // 2 :][: rows.size], strongest[FAR + NEAR + 1 + size // 2 :][: rows.size]
    return np.minimum(rows, np.maximum(above, below))


def _quantiles(values: NDArray[np.uint8], *shares: float) -> list[NDArray[np.uint8]]:
    """The quantiles of each row."""
    places = [int(share * (values.shape[1] - 1)) for share in shares]
    # numpy has vector code for 16 bits, not for 8
    ordered = np.partition(np.ascontiguousarray(values).astype(np.uint16), places, axis=1)
    return [ordered[:, place].astype(np.uint8) for place in places]


def _less(values: NDArray[np.uint8], ruling: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.maximum(values, ruling) - ruling


def ink_levels(contrast: NDArray[np.uint8]) -> tuple[float, float]:
    """The contrast at which ink begins and at which it is full."""
    rising = np.cumsum(Image.fromarray(contrast).histogram()) / max(1, contrast.size)
    ground, full = np.searchsorted(rising, (0.93, 0.994))
    full = max(float(full), 38.0)
    return float(np.clip(1.2 * ground, 0.25 * full, 0.6 * full)), 0.75 * full


def spread_ink(contrast: NDArray[np.uint8], levels: tuple[float, float]) -> NDArray[np.uint8]:
    """Contrast between the levels spread over 0 to 255."""
    low, high = levels
    table = np.clip((np.arange(256) - low) / (high - low), 0.0, 1.0)
    return np.asarray(Image.fromarray(contrast).point(np.rint(255 * table).astype(np.uint8).tolist()))
