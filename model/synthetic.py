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


def random_signal(rng: np.random.Generator, seconds: float = 10.0, sampling_rate_hz: float = 500.0) -> Signal:
    """A 12-lead ECG of no heart: rate, rhythm, axes, widths and shapes of waves are any that are seen."""
    time = np.arange(int(seconds * sampling_rate_hz)) / sampling_rate_hz
    gaps, atria = _random_rhythm(rng, seconds)
    peaks = float(rng.uniform(0.1, 0.5)) + np.concatenate([[0.0], np.cumsum(gaps)])
    bumps = _random_beat(rng, float(np.median(gaps)), atria)
    values = rng.normal(0.0, float(rng.uniform(0.002, 0.012)), (8, time.size))
    for peak in peaks[peaks < seconds + 1.0]:
        for centre, width, heights in bumps:
            first, stop = (int((peak + centre + edge * width) * sampling_rate_hz) for edge in (-4, 4))
            first, stop = max(first, 0), min(stop, time.size)
            if stop > first:
                shape = np.exp(-0.5 * ((time[first:stop] - peak - centre) / width) ** 2)
                values[:, first:stop] += heights[:, None] * shape
    if not atria:
        phase = 2 * np.pi * float(rng.uniform(5.0, 8.0)) * time
        values += rng.uniform(0.0, 0.06, (8, 1)) * np.sin(phase + 2.0 * np.sin(0.3 * phase))
    one, two = values[:2]
    limbs = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2]
    leads = [lead.astype(np.float32) for lead in [*limbs, *values[2:]]]
    return Signal(dict(zip(LEADS, leads, strict=True)), sampling_rate_hz)


def _random_rhythm(rng: np.random.Generator, seconds: float) -> tuple[NDArray[np.float64], bool]:
    """Gaps between beats in s, and whether there are P waves."""
    rate = float(rng.uniform(45, 140))
    count = int(seconds * rate / 30) + 4
    way = rng.random()
    spread = 0.18 if way < 0.15 else 0.02
    gaps = 60.0 / rate * np.clip(rng.normal(1.0, spread, count), 0.55, 1.7)
    if 0.15 <= way < 0.25:  # early beats, and the pause behind them
        early = np.flatnonzero(rng.random(count - 1) < 0.2)
        gaps[early], gaps[early + 1] = 0.65 * 60 / rate, 1.35 * 60 / rate
    return gaps, bool(way >= 0.15)


def _random_beat(rng: np.random.Generator, gap: float, atria: bool) -> list[tuple[float, float, NDArray[np.float64]]]:
    """Waves of one beat: centre from R and width in s, heights in mV of I, II and V1 to V6."""
    wide = float(rng.uniform(1.5, 2.2)) if rng.random() < 0.2 else float(rng.uniform(0.8, 1.2))
    axis = float(np.deg2rad(rng.uniform(-60, 120)))
    turn = float(rng.uniform(1.5, 5.0))  # the chest lead where R grows over S
    place = np.arange(1, 7)
    up = rng.uniform(0.7, 1.8) / (1 + np.exp(-(place - turn) / rng.uniform(0.5, 1.2))) * np.linspace(1, 0.75, 6)
    down = rng.uniform(0.6, 1.8) / (1 + np.exp((place - turn) / rng.uniform(0.5, 1.2)))
    high = float(rng.uniform(0.4, 1.5))
    r_limb = high * np.array([np.cos(axis), np.cos(axis - np.pi / 3)])
    delay = 0.03 * wide
    waves = [
        (0.0, 0.011 * wide, _eight(np.maximum(r_limb, 0.0), up + 0.08)),
        (delay, 0.011 * wide, _eight(np.minimum(r_limb, 0.0) - rng.uniform(0, 0.2, 2), -down)),
    ]
    if rng.random() < 0.6:
        waves.append((-0.026 * wide, 0.009, _eight(-rng.uniform(0, 0.12, 2), -rng.uniform(0, 0.12) * (place > 3))))
    if wide > 1.4:  # a second peak, to the right or to the left
        right = rng.random() < 0.5
        second = np.where(place < 3, 0.6, 0.0) if right else np.where(place > 4, 0.5, 0.0)
        waves.append((2 * delay, 0.014 * wide, _eight(rng.uniform(-0.2, 0.2, 2), second * rng.uniform(0.5, 1.3))))
    if atria:
        waves.append((-float(rng.uniform(0.12, 0.2)), 0.022, _eight(rng.uniform(0.03, 0.15, 2), _smooth(rng, 0.05))))
    late = float(np.clip(rng.uniform(0.36, 0.46) * np.sqrt(gap), 0.2, 0.4)) - 0.08
    t_axis = axis + float(np.deg2rad(rng.normal(0, 35))) + (np.pi if rng.random() < 0.15 or wide > 1.4 else 0.0)
    t_limb = rng.uniform(0.08, 0.4) * np.array([np.cos(t_axis), np.cos(t_axis - np.pi / 3)])
    waves.append((late, float(rng.uniform(0.035, 0.06)), _eight(t_limb, rng.uniform(0.0, 0.35) + _smooth(rng, 0.25))))
    if rng.random() < 0.4:  # ST segments off their level, as no wall explains
        waves.append((0.55 * late, 0.05, _eight(rng.normal(0, 0.05, 2), _smooth(rng, 0.1))))
    return waves


def _eight(limb: NDArray[np.float64], chest: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([limb, chest])


def _smooth(rng: np.random.Generator, size: float) -> NDArray[np.float64]:
    """Six numbers of which neighbours are alike."""
    return np.asarray(np.convolve(rng.normal(0.0, size, 8), np.ones(3) / np.sqrt(3.0), "valid"))
