"""Where on a page the ECG is: the ruled part, and in it the lines that are wide enough to be leads."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from model.preprocessing_ink import darker_than, lightest_of_cells

BLOCK = 16  # px: about 4 mm at working size, so that every block of ruled paper holds rules
LEAST_BLOCKS = 8  # a side: less is no sheet
RULE = 8  # of 255: the faintest printed rule is this much darker than its paper
EVERYWHERE = 0.7  # of a row or column of blocks
TRACE_WIDTH = 0.13  # of the ruled part: narrower than any lead of a 3x4 sheet, wider than any word

TEXT_CROSSINGS = 1.5  # strokes met going down a column of print, on average more than this
BRIDGE = 3  # pairs of px: a trace is interrupted where a separator was taken off

PixelBox = tuple[int, int, int, int]


def find_grid(deep: NDArray[np.uint8]) -> PixelBox:
    """The ruled part of a page as (left, top, right, bottom) in pixels; the whole page where nothing is ruled."""
    height, width = deep.shape
    rows, columns = height // BLOCK, width // BLOCK
    if rows < LEAST_BLOCKS or columns < LEAST_BLOCKS:
        return 0, 0, width, height
    ruled = darker_than(deep, RULE)
    counts = ruled[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns * BLOCK).sum(axis=1, dtype=np.uint8)
    blocks = counts.reshape(rows, columns, BLOCK).sum(axis=2) / BLOCK**2 > 0.06
    part = _largest(blocks)
    if part is None:
        return 0, 0, width, height
    top, bottom, left, right = (BLOCK * edge for edge in part)
    left, right = _edges(ruled[top:bottom], left, right, 0)
    top, bottom = _edges(ruled[:, left:right], top, bottom, 1)
    if min(right - left, bottom - top) < LEAST_BLOCKS * BLOCK:
        return 0, 0, width, height
    return left, top, right, bottom


def _largest(blocks: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    """The largest rectangle that is ruled nearly everywhere, as (top, bottom, left, right) in blocks."""
    whole = ndimage.binary_opening(
        ndimage.binary_closing(np.pad(blocks, 1), np.ones((3, 3)))[1:-1, 1:-1], np.ones((4, 4))
    )
    named, count = ndimage.label(whole)
    if not count:
        return None
    part = ndimage.find_objects(named)[int(np.argmax(np.bincount(named.ravel())[1:]))]
    left, right = part[1].start, part[1].stop
    top, bottom = _longest(blocks[:, left:right].mean(axis=1) >= EVERYWHERE)
    left, right = _longest(blocks[top:bottom].mean(axis=0) >= EVERYWHERE)
    if (bottom - top) * (right - left) < 0.15 * blocks.size:
        return None
    return top, bottom, left, right


def _longest(good: NDArray[np.bool_]) -> tuple[int, int]:
    """Start and stop of the longest run of true values; (0, 0) where there is none."""
    steps = np.flatnonzero(np.diff(np.concatenate(([0], good.astype(np.int8), [0]))))
    if not steps.size:
        return 0, 0
    starts, stops = steps[::2], steps[1::2]
    best = int(np.argmax(stops - starts))
    return int(starts[best]), int(stops[best])


def _edges(ruled: NDArray[np.bool_], start: int, stop: int, axis: int) -> tuple[int, int]:
    """Where the ruling really begins and ends, within a few blocks of where its blocks do."""
    profile = ruled.mean(axis=axis)
    enough = 0.4 * np.median(ndimage.maximum_filter1d(profile, 7)[start:stop])
    solid = 0.85 if np.median(profile[start:stop]) < 0.7 else 2.0
    first, last = max(0, start - BLOCK), min(profile.size, stop + BLOCK)
    begin = _begin(profile[first : start + 3 * BLOCK], enough, solid)
    end = _begin(profile[stop - 3 * BLOCK : last][::-1], enough, solid)
    return first + begin, last - end


def _begin(profile: NDArray[np.float64], enough: float, solid: float) -> int:
    """Index of the first rule, counted behind a solid stripe (a frame's shade) where there is one."""
    stripe = np.flatnonzero(ndimage.minimum_filter1d(profile, 7) > solid)
    return int(stripe[-1]) + 4 if stripe.size else int(np.argmax(profile >= enough))


@dataclass(frozen=True, slots=True)
class Traces:
    """Bounds of all lines as wide as a lead, and their number."""

    box: PixelBox
    count: int


def find_traces(ink: NDArray[np.uint8]) -> Traces:
    """The leads on ruled paper; the whole of it where what is found is too little to be a sheet."""
    height, width = ink.shape
    if min(height, width) < 2:
        return Traces((0, 0, width, height), 0)
    mask = lightest_of_cells(ink[: height // 2 * 2, : width // 2 * 2], 2) > 127
    named, _ = ndimage.label(ndimage.maximum_filter1d(mask, BRIDGE, axis=1), np.ones((3, 3)))
    wide = [
        part
        for number, part in enumerate(ndimage.find_objects(named), 1)
        if part[1].stop - part[1].start >= TRACE_WIDTH * mask.shape[1]
        and _is_trace(mask[part] & (named[part] == number))
    ]
    if not wide:
        return Traces((0, 0, width, height), 0)
    left, right = 2 * min(part[1].start for part in wide), 2 * max(part[1].stop for part in wide)
    top, bottom = 2 * min(part[0].start for part in wide), 2 * max(part[0].stop for part in wide)
    if right - left < 0.5 * width or bottom - top < 0.25 * height:
        return Traces((0, 0, width, height), len(wide))
    return Traces((left, top, right, bottom), len(wide))


def _is_trace(line: NDArray[np.bool_]) -> bool:
    """Whether a wide thing is a curve: a line of text crosses each column more than once, a bar fills it."""
    crossings = np.count_nonzero(np.diff(line.astype(np.int8), axis=0, prepend=0) == 1, axis=0)
    inked = crossings > 0
    if not inked.any():
        return False
    return crossings[inked].mean() < TEXT_CROSSINGS or line.shape[0] > 0.06 * line.shape[1]
