"""Heartbeats made of formulas, for tests, golden outputs and warming up: no patient's ECG."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.values import Signal

Rhythm = Literal["regular", "irregular"]
LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
# Waves: centre from the R peak in s, width in s; heights in mV by lead: I and II, and the six chest leads
_WAVES = {"P": (-0.17, 0.022), "Q": (-0.028, 0.009), "R": (0.0, 0.011), "S": (0.03, 0.011), "T": (0.27, 0.05)}
_LIMB = {"P": (0.08, 0.13), "Q": (-0.05, -0.06), "R": (0.6, 1.0), "S": (-0.1, -0.15), "T": (0.2, 0.28)}
_CHEST = {
    "P": (0.05, 0.07, 0.08, 0.08, 0.07, 0.06),
    "Q": (0.0, 0.0, 0.0, -0.03, -0.06, -0.06),
    "R": (0.25, 0.5, 0.8, 1.3, 1.2, 0.9),
    "S": (-0.9, -1.3, -0.9, -0.5, -0.25, -0.1),
    "T": (-0.05, 0.35, 0.4, 0.38, 0.3, 0.22),
}


def synthetic_signal(
    rate_bpm: float = 70.0,
    st_mv: float = 0.0,
    rhythm: Rhythm = "regular",
    seed: int = 1,
    seconds: float = 10.0,
    sampling_rate_hz: float = 500.0,
) -> Signal:
    """A 12-lead ECG; `st_mv` lifts the ST segment of II, III, aVF and V2 to V4."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * sampling_rate_hz)) / sampling_rate_hz
    spread = 0.25 if rhythm == "irregular" else 0.02
    gaps = 60.0 / rate_bpm * np.clip(rng.normal(1.0, spread, int(seconds * rate_bpm / 30) + 2), 0.5, 1.8)
    peaks = 0.3 + np.concatenate([[0.0], np.cumsum(gaps)])
    one, two = (
        _lead(time, peaks, {name: _LIMB[name][i] for name in _LIMB}, (0.3, 1.0)[i] * st_mv, rng) for i in (0, 1)
    )
    chest = [
        _lead(time, peaks, {name: _CHEST[name][i] for name in _CHEST}, st_mv if 0 < i < 4 else 0.0, rng)
        for i in range(6)
    ]
    limbs = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2]
    return Signal(dict(zip(LEADS, [lead.astype(np.float32) for lead in limbs + chest], strict=True)), sampling_rate_hz)


def _lead(
    time: NDArray[np.float64],
    peaks: NDArray[np.float64],
    heights: dict[str, float],
    st_mv: float,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    values = rng.normal(0.0, 0.006, time.size)
    for peak in peaks:
        for name, (centre, width) in _WAVES.items():
            values += heights[name] * np.exp(-0.5 * ((time - peak - centre) / width) ** 2)
        since = time - peak
        values += st_mv * _step((since - 0.05) / 0.008) * _step((0.25 - since) / 0.03)
    return values


def _step(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logistic function, for any distance from the step."""
    return np.asarray(0.5 + 0.5 * np.tanh(values / 2))
