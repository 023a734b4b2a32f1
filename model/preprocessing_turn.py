"""How a sheet lies: tilted by a few degrees."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TILTS = np.arange(-8.0, 8.01, 0.5)  # degrees
LEAST_TILT = 0.4  # degrees: below it a turn costs more sharpness than it mends
LEAST_GAIN = 1.15  # a tilt is believed when it sharpens the rows this much


def find_tilt(ink: NDArray[np.uint8]) -> float:
    """Degrees by which to turn the sheet counter-clockwise so that its baselines lie level; 0 where they do."""
    y, x = np.nonzero(ink[::2, ::2] > 127)
    if x.size < 500:
        return 0.0
    sharpness = np.array([_sharpness(x, y, angle) for angle in TILTS])
    best = int(np.argmax(sharpness))
    level = sharpness[len(TILTS) // 2]
    if sharpness[best] < LEAST_GAIN * level:
        return 0.0
    angle = _peak(sharpness, best)
    return angle if abs(angle) >= LEAST_TILT else 0.0


def _sharpness(x: NDArray[np.int64], y: NDArray[np.int64], angle: float) -> float:
    """Sum of squares of the row profile: highest when baselines lie along rows."""
    sunk = np.rint(-np.arange(x.max() + 1) * np.tan(np.radians(angle))).astype(np.int64)
    profile = np.bincount(y + (sunk - sunk.min())[x])
    return float(profile @ profile)


def _peak(sharpness: NDArray[np.float64], best: int) -> float:
    if best in (0, len(TILTS) - 1):
        return float(TILTS[best])
    before, at, after = sharpness[best - 1 : best + 2]
    bend = before - 2 * at + after
    shift = 0.5 * (before - after) / bend if bend else 0.0
    return float(TILTS[best] + shift * (TILTS[1] - TILTS[0]))


def turned(picture: Image.Image, angle: float) -> Image.Image:
    """The picture turned counter-clockwise by a few degrees, its corners filled with its own paper."""
    paper = tuple(int(v) for v in np.percentile(np.asarray(picture)[::8, ::8].reshape(-1, 3), 75, axis=0))
    return picture.rotate(angle, Image.Resampling.BILINEAR, fillcolor=paper)
