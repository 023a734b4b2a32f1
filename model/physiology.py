"""Infarctions made by physiology: ST elevation and Q waves added to the beats of a real ECG.

Injury lifts the ST segment in the leads that face the ischaemic wall and lowers it in the opposite ones; necrosis takes
R and leaves Q (Fourth Universal Definition of Myocardial Infarction, 2018). The limb leads are changed through I and
II alone, so that Einthoven's and Goldberger's relations stay true.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.values import Signal

# Share of the change that each wall gives to I, II and V1 to V6
TERRITORIES = {
    "anterior": (0.25, -0.1, 0.5, 1.0, 1.0, 0.8, 0.35, 0.1),
    "inferior": (-0.15, 1.0, -0.3, -0.5, -0.4, -0.1, 0.15, 0.2),
    "lateral": (0.8, 0.25, -0.2, -0.2, 0.1, 0.4, 0.8, 0.8),
    "anterolateral": (0.6, 0.0, 0.3, 0.8, 1.0, 1.0, 0.8, 0.5),
    "inferolateral": (0.1, 0.9, -0.3, -0.4, -0.2, 0.2, 0.6, 0.7),
}
_SHARED = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
_QRS_HZ = (5.0, 25.0)
_REFRACTORY_S = 0.25
_T_S, _T_SHARE = 0.28, 0.42  # peak of T behind R: of a slow heart, and as a share of the gap between fast beats
_T_WIDTH_S = 0.045  # standard deviation of a T wave
INFARCT_MV = (0.15, 0.5)  # ST change at its largest; 0.2 mV in V2 and V3 is the definition's limit
VARIANT_MV = (0.0, 0.07)  # within what healthy hearts show


def with_infarction(signal: Signal, rng: np.random.Generator) -> Signal:
    """The same heart with an acute infarction of a random wall; the signal as it is when no beats are found."""
    return _changed(signal, rng, float(rng.uniform(*INFARCT_MV)), q_wave=bool(rng.random() < 0.5))


def with_normal_variant(signal: Signal, rng: np.random.Generator) -> Signal:
    """The same heart with a slight ST change that means nothing."""
    return _changed(signal, rng, float(rng.uniform(*VARIANT_MV)), q_wave=False)


def find_beats(signal: Signal) -> NDArray[np.int64]:
    """R peaks, as samples."""
    from scipy.signal import butter, find_peaks, sosfiltfilt

    rate = signal.sampling_rate_hz
    leads = np.stack([lead.astype(np.float64) for lead in signal.leads.values()])
    sections = butter(2, _QRS_HZ, "bandpass", fs=rate, output="sos")
    energy = np.abs(sosfiltfilt(sections, leads, axis=1)).sum(axis=0)
    peaks, _ = find_peaks(energy, height=0.4 * np.quantile(energy, 0.99), distance=max(1, int(_REFRACTORY_S * rate)))
    return np.asarray(peaks, np.int64)


def _changed(signal: Signal, rng: np.random.Generator, st_mv: float, q_wave: bool) -> Signal:
    return with_injury(signal, str(rng.choice(list(TERRITORIES))), Injury(st_mv, q_wave), rng)


@dataclass(frozen=True, slots=True)
class Injury:
    """What a wall does to the leads that face it: ST change and T change at their largest, mV, and necrosis."""

    st_mv: float
    q_wave: bool
    t_mv: float = 0.0


def with_injury(signal: Signal, territory: str, injury: Injury, rng: np.random.Generator) -> Signal:
    """The same heart with a wall of `TERRITORIES` injured, scarred or both; as it is when no beats are found."""
    beats = find_beats(signal)
    if len(beats) < 2 or any(lead not in signal.leads for lead in _SHARED):
        return signal
    samples = min(lead.size for lead in signal.leads.values())
    rate = signal.sampling_rate_hz
    st = injury.st_mv * _segments(beats, samples, rate, rng)
    if injury.t_mv:
        st += injury.t_mv * _repolarisation(beats, samples, rate)
    q = _necrosis(beats, samples, rate) if injury.q_wave else np.zeros(samples)
    deep = float(rng.uniform(0.2, 0.6))
    change = {}
    for lead, part in zip(_SHARED, TERRITORIES[territory], strict=True):
        part *= float(rng.uniform(0.7, 1.3))
        change[lead] = part * st - (deep * max(part, 0.0)) * q
    one, two = change["I"], change["II"]
    change |= {"III": two - one, "aVR": -(one + two) / 2, "aVL": one - two / 2, "aVF": two - one / 2}
    leads = {name: (values[:samples] + change[name]).astype(np.float32) for name, values in signal.leads.items()}
    return Signal(leads, rate)


def _repolarisation(beats: NDArray[np.int64], samples: int, rate: float) -> NDArray[np.float64]:
    """A bump of height one at every T wave."""
    typical = float(np.median(np.diff(beats))) / rate
    centre, width = min(_T_S, _T_SHARE * typical), _T_WIDTH_S
    time = np.arange(samples) / rate
    curve = np.zeros(samples)
    for beat in beats:
        curve += np.exp(-0.5 * ((time - beat / rate - centre) / width) ** 2)
    return curve


def _segments(beats: NDArray[np.int64], samples: int, rate: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """One at every ST segment and T wave, zero elsewhere; its shape is domed or straight."""
    curve = np.zeros(samples)
    typical = float(np.median(np.diff(beats))) / rate
    begin, end = 0.045, min(0.42, 0.55 * typical)
    dome = float(rng.uniform(0.0, 0.8))
    time = np.arange(int((end + 0.1) * rate)) / rate
    rise = 1 / (1 + np.exp(-(time - begin) / 0.008))
    fall = 1 / (1 + np.exp((time - end) / 0.025))
    shape = rise * fall * (1 + dome * np.sin(np.pi * np.clip((time - begin) / (end - begin), 0, 1)))
    for beat in beats:
        stop = min(samples, beat + time.size)
        curve[beat:stop] = np.maximum(curve[beat:stop], shape[: stop - beat])
    return curve


def _necrosis(beats: NDArray[np.int64], samples: int, rate: float) -> NDArray[np.float64]:
    """A wide bump around the beginning of every QRS."""
    time = np.arange(samples) / rate
    curve = np.zeros(samples)
    for beat in beats:
        curve += np.exp(-0.5 * ((time - beat / rate + 0.018) / 0.018) ** 2)
    return curve
