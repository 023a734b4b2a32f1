"""Whether a picture holds a 12-lead ECG that can be judged at all.

Limits stand between what readable sheets, pages and photographs show and what other things do; they were set on drawn
and real sheets and on pictures that are no ECG.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from core.states import Reason
from model.preprocessing import NARROWEST, Prepared

INK = 64  # of 255: from here a pixel is trace
LEAST_INK = 0.003  # share of the ECG area; a sheet has 0.02 to 0.06, in the thinnest pen 0.007
MOST_INK = 0.095  # more: a picture of a body, or waves without rest
LEAST_HEIGHT = 0.3  # share of the area's rows that hold ink
LEAST_WIDTH = 0.8  # share of its columns, those counted of which the ruling was taken
FRAME_WIDTH = 0.5  # share of the area's width; a trace between two beats is level over a tenth
FRAME_COMPANY = 0.02  # share of a line beside which there is more ink: frames have 0.01, traces of low voltage 0.035
FRAME_GAP = 0.009  # where strokes that were taken off with the ruling had crossed it
LEAST_ROWS, MOST_ROWS = 2.5, 17.0  # traces met going down a column: 3 rows to 12 and overlap
WIDEST = 5.0  # width over height of the area: one row of leads is wider
JOINED_WIDTH = 0.025  # of the area's width: half a fast beat is as wide, few printed words are
LEAST_JOINED = 0.10  # share of ink in such strokes; print has next to none

LEAST_ACROSS = 300  # px: of sheets made smaller, all are accepted at 350, half at 250
EDGES, LINES, FAINT = 99.5, 99.4, 38.0  # quantiles of steps and of contrast; the least contrast of a line
LEAST_SHARPNESS = 0.42  # real sheets, pages and photographs have 0.8 or more; blurred over 1.5 px they have 0.4

STROKE_HEIGHT = 0.02  # of the area's height: a QRS complex goes as far up or down in one column of pixels
LEAST_STROKES = 15  # a sheet has 29 or more; the lines of a chart climb less steeply
SLANT_HEIGHT, SLANT_WIDTH = 0.015, 0.012  # of height and width: a climb as wide is no QRS complex
LEAST_UPRIGHT = 0.95  # share of climbs that are narrower
LEAST_STRETCH = 2.5  # times a trace's thickness: a level line is no climb


def judge_readability(prepared: Prepared) -> tuple[float, Reason | None]:
    """How readable a picture is, 0 to 1, and why it is refused (None: it is not)."""
    quality, reason = _judge_ink(prepared)
    if reason in (Reason.NOT_AN_ECG, Reason.TOO_FEW_LEADS) and _is_unreadable(prepared):
        return quality, Reason.UNREADABLE
    if reason is None and prepared.doubtful:
        return quality, Reason.UPSIDE_DOWN
    return quality, reason


def _is_unreadable(prepared: Prepared) -> bool:
    """Whether what is refused may be an ECG all the same, too blurred or too small to tell."""
    return prepared.contrast.shape[1] < LEAST_ACROSS or sharpness(prepared.contrast) < LEAST_SHARPNESS


def sharpness(contrast: NDArray[np.uint8]) -> float:
    """The steepest edges from one pixel to the next, as a share of the strongest lines."""
    values = contrast.astype(np.int16)
    steps = np.maximum(np.abs(np.diff(values, axis=0))[:, 1:], np.abs(np.diff(values, axis=1))[1:])
    return float(np.percentile(steps, EDGES)) / max(float(np.percentile(contrast, LINES)), FAINT)


def _judge_ink(prepared: Prepared) -> tuple[float, Reason | None]:
    ink = prepared.ink > INK
    share = float(ink.mean())
    if share < LEAST_INK:
        return 0.0, Reason.BLANK
    shape = ink.shape[1] / ink.shape[0]
    rows = crossings(without_frame(ink))
    if rows > MOST_ROWS or share > MOST_INK:
        return 0.1, Reason.NOT_AN_ECG
    if ink.any(axis=1).mean() < LEAST_HEIGHT or (ink.any(axis=0) | prepared.ruled).mean() < LEAST_WIDTH:
        return 0.2, Reason.NOT_AN_ECG
    if rows < LEAST_ROWS or not NARROWEST <= shape <= WIDEST:
        return 0.3, Reason.TOO_FEW_LEADS
    if share_joined(ink) < LEAST_JOINED:
        return 0.4, Reason.NOT_AN_ECG
    if len(climbs(ink, STROKE_HEIGHT)) < LEAST_STROKES:
        return 0.2, Reason.NOT_AN_ECG
    if np.mean(climbs(ink, SLANT_HEIGHT) < SLANT_WIDTH * ink.shape[1]) < LEAST_UPRIGHT:
        return 0.2, Reason.NOT_AN_ECG
    return score(share, rows, shape), None


def without_frame(ink: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The ink without level lines that run straight on over much of the width: frames and axes, which are no leads.

    A trace of low voltage is as level, but its complexes stand on it.
    """
    length, gap = (max(1, round(part * ink.shape[1])) for part in (FRAME_WIDTH, FRAME_GAP))
    closed = _shrunk(_grown(ink.view(np.uint8), gap), gap)
    left = ink.copy()
    for rows, columns in ndimage.find_objects(ndimage.label(_grown(_shrunk(closed, length), length))[0]):
        # A line's soft edge is one pixel; what stands on it shows in the next
        beside = [at for at in (rows.start - 2, rows.stop + 1) if 0 <= at < ink.shape[0]]
        if all(ink[at, columns].mean() < FRAME_COMPANY for at in beside):
            left[max(0, rows.start - 1) : rows.stop + 1, columns] = False
    return left


def _grown(ink: NDArray[np.uint8], length: int) -> NDArray[np.uint8]:
    return np.asarray(ndimage.maximum_filter1d(ink, length, axis=1, mode="constant"))


def _shrunk(ink: NDArray[np.uint8], length: int) -> NDArray[np.uint8]:
    return np.asarray(ndimage.minimum_filter1d(ink, length, axis=1, mode="constant"))


def crossings(ink: NDArray[np.bool_]) -> float:
    """Traces met going down a column, in the median over columns."""
    edges = np.abs(np.diff(ink.astype(np.int8), axis=0, prepend=0, append=0)).sum(axis=0)
    return float(np.median(edges)) / 2


def climbs(ink: NDArray[np.bool_], height: float) -> NDArray[np.int64]:
    """How wide, in pixels, each steep part of a trace is; steep: a column of ink as high as this share of the area."""
    edges = np.diff(np.pad(ink.astype(np.int8), ((1, 1), (0, 0))), axis=0).T
    column, top = np.nonzero(edges == 1)
    length = np.nonzero(edges == -1)[1] - top
    steep = np.flatnonzero(length >= max(height * ink.shape[0], LEAST_STRETCH * np.median(length)))
    drawn = np.zeros(ink.shape, bool)
    for number in steep:
        drawn[top[number] : top[number] + length[number], column[number]] = True
    named, _count = ndimage.label(drawn, np.ones((3, 3)))
    return np.array([part[1].stop - part[1].start for part in ndimage.find_objects(named)], np.int64)


def share_joined(ink: NDArray[np.bool_]) -> float:
    """How much of the ink lies in strokes that run on sideways, 0 to 1."""
    named, count = ndimage.label(ink, np.ones((3, 3)))
    if not count:
        return 0.0
    widths = np.array([part[1].stop - part[1].start for part in ndimage.find_objects(named)])
    pixels = np.bincount(named.ravel())[1:]
    return float(pixels[widths >= JOINED_WIDTH * ink.shape[1]].sum() / pixels.sum())


def score(share: float, rows: float, shape: float) -> float:
    """0.5 at a limit, 1 well inside."""
    room = min(
        (share - LEAST_INK) / LEAST_INK,
        (MOST_INK - share) / MOST_INK,
        rows - LEAST_ROWS,
        (MOST_ROWS - rows) / 5,
        (shape - NARROWEST) / 0.3,
        (WIDEST - shape) / 0.5,
    )
    return round(0.5 + 0.5 * min(1.0, max(0.0, room)), 3)
