"""Which ten seconds of a long recording are read best."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dicom_node.leads import Samples

_FLAT_MV = 0.02  # a second with less than this from end to end holds no beat and no noise: an electrode is off
_HIGH_MV = 6.0  # and one with more than this holds an artefact
_STEP_S = 1.0


def best_start(leads: Mapping[str, Samples], rate_hz: float, length_s: float) -> int:
    """First sample of the stretch of `length_s` that is least disturbed; the earliest of equals."""
    step = round(_STEP_S * rate_hz)
    samples = len(next(iter(leads.values())))
    seconds = samples // step
    window = round(length_s / _STEP_S)
    if seconds <= window:
        return 0
    trouble = sum(_trouble(values[: seconds * step].reshape(seconds, step)) for values in leads.values())
    sums = np.convolve(trouble, np.ones(window), mode="valid")
    return int(np.argmin(np.round(sums, 2))) * step


def _trouble(seconds: NDArray[np.float32]) -> NDArray[np.float64]:
    """How disturbed each second of a lead is: missing, flat or off the scale counts 1, noise and drift by amount."""
    missing = np.isnan(seconds).mean(axis=1)
    known = np.where(np.isnan(seconds), 0.0, seconds)
    height = np.ptp(known, axis=1)
    broken = (height < _FLAT_MV) | (height > _HIGH_MV)
    # Of sharp corners a QRS has few and noise many: their median stays low where only beats have them
    noise = np.median(np.abs(np.diff(known, n=2, axis=1)), axis=1)
    middle = np.median(known, axis=1)
    drift = np.abs(np.diff(middle, prepend=middle[:1]))
    return missing + broken + np.minimum(noise / 0.05, 1.0) + np.minimum(drift / 1.0, 1.0)
