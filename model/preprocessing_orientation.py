"""Which way up a sheet lies: evidence from the shapes around steep strokes and from where on the sheet ink is.

A QRS complex with its P wave before it and its T wave behind it, a calibration pulse, rows with a rhythm strip under
them: all of it looks another way when the sheet is turned by 180 degrees. What is measured is the picture less the same
picture turned, so that a sheet and the same sheet turned have evidence of one size and opposite signs, and a picture
that says nothing has none. The weights are those of a logistic regression (`python -m model.orientation`).
"""

import json
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.preprocessing_area import PixelBox
from model.preprocessing_ink import lightest_of_cells

WEIGHTS = Path(__file__).with_name("orientation.json")
# Log-odds. Out of fold none of 1798 upright pictures showed the first against itself, and 5 the second: see
# docs/model-results.md
SURE, DOUBTFUL = 2.5, 1.5

LEAST_SIDE = 64  # px: smaller pictures show no wave
CELLS = 200  # across the area: a cell is 50 ms of a row of ten seconds
REACH = 12  # cells: 0.6 s before and behind a stroke
LAYOUT = (12, 16)  # rows and columns of the coarsest view
STEEP = 0.016  # of the area's width: a column of ink as high is part of a QRS complex or of a pulse
STEEP_STROKE = 2.5  # times the thickness of a level trace


def evidence_upright(ink: NDArray[np.uint8], area: PixelBox) -> float:
    """Log-odds that a sheet lies upright: negative where it lies upside down; `ink` of its ruled part, `area` in it."""
    if min(ink.shape) < LEAST_SIDE:
        return 0.0
    return float(asymmetry(ink, area) @ _weights())


@cache
def _weights() -> NDArray[np.float64]:
    return np.array(json.loads(WEIGHTS.read_text(encoding="utf-8"))["weights"], np.float64)


def asymmetry(ink: NDArray[np.uint8], area: PixelBox) -> NDArray[np.float64]:
    """What changes its sign when the sheet is turned by 180 degrees: around strokes, and over the whole area."""
    dark = lightest_of_cells(np.ascontiguousarray(ink[: ink.shape[0] // 2 * 2, : ink.shape[1] // 2 * 2]), 2) > 127
    left, top, right, bottom = (edge / 2 for edge in area)
    cell = (right - left) / CELLS
    size = max(1, round(dark.shape[1] / cell)), max(1, round(dark.shape[0] / cell))
    cells = (
        np.asarray(Image.fromarray(dark.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX), np.float32) / 255
    )
    x, y = _steep_strokes(dark, STEEP * (right - left))
    inside = cells[int(top / cell) : int(bottom / cell) + 1, int(left / cell) : int(right / cell) + 1]
    return np.concatenate([_half(_around(cells, x / cell, y / cell)), _half(_layout(inside))])


def _steep_strokes(dark: NDArray[np.bool_], height: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Middles of the runs of ink in one column that are as high, as x and y."""
    edges = np.diff(np.pad(dark.astype(np.int8), ((1, 1), (0, 0))), axis=0).T
    column, top = np.nonzero(edges == 1)
    bottom = np.nonzero(edges == -1)[1]
    length = bottom - top
    steep = length >= max(height, STEEP_STROKE * float(np.median(length))) if length.size else np.zeros(0, bool)
    return column[steep] + 0.5, (top + bottom)[steep] / 2


def _around(cells: NDArray[np.float32], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of what is around places, (2 reach + 1, 2 reach + 1)."""
    side = 2 * REACH + 1
    if not x.size:
        return np.zeros((side, side))
    rows, columns = cells.shape
    # Strokes of one cell are counted, and each cell's surroundings taken once
    place = np.clip(np.rint(y - 0.5), 0, rows - 1).astype(np.int64) * columns
    place += np.clip(np.rint(x - 0.5), 0, columns - 1).astype(np.int64)
    place, counts = np.unique(place, return_counts=True)
    views = np.lib.stride_tricks.sliding_window_view(np.pad(cells, REACH), (side, side))
    return np.einsum("n,nij->ij", counts / counts.sum(), views[place // columns, place % columns])


def _layout(inside: NDArray[np.float32]) -> NDArray[np.float64]:
    """Where ink is, in a coarse view whose mean is 1."""
    rows, columns = LAYOUT
    view = np.asarray(Image.fromarray(inside).resize((columns, rows), Image.Resampling.BOX), np.float64)
    return view / max(1e-3, float(view.mean()))


def _half(view: NDArray[np.float64]) -> NDArray[np.float64]:
    """A view less the same view turned by 180 degrees; the second half would only repeat the first."""
    less = (view - view[::-1, ::-1]).ravel()
    return less[: less.size // 2]
