"""Bytes of a multiplex group into millivolts, channel by channel (PS3.3 C.10.9)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from core.errors import NotDiagnostic
from core.states import Reason
from dicom_node.ecg_object import Limits

# Waveform Sample Interpretation, PS3.3 C.10.9.1.5
_TYPES = {"SB": "i1", "UB": "u1", "SS": "i2", "US": "u2", "SL": "i4", "UL": "u4"}
_COMPANDED = {"MB": "mu-law", "AB": "A-law"}
# UCUM; the micro sign has three spellings
_MILLIVOLTS = {"V": 1000.0, "mV": 1.0, "uV": 1e-3, "\u00b5V": 1e-3, "\u03bcV": 1e-3, "nV": 1e-6}


@dataclass(frozen=True, slots=True, eq=False)
class Multiplex:
    """One multiplex group. `raw` is (samples, channels) as stored, `padding` the value that stands for no sample."""

    number: int
    raw: NDArray[Any]
    padding: int | None
    rate_hz: float
    offset_s: float
    channels: tuple[Dataset, ...]

    @property
    def duration_s(self) -> float:
        return len(self.raw) / self.rate_hz


def read_multiplex(group: Dataset, number: int, big_endian: bool, limits: Limits) -> Multiplex:
    """The group's samples and what describes them. Raises NotDiagnostic."""
    kind = str(group.get("WaveformSampleInterpretation") or "").strip().upper()
    if kind in _COMPANDED:
        raise NotDiagnostic(Reason.UNSUPPORTED_ENCODING, f"{_COMPANDED[kind]} samples are sound, not an ECG")
    bits = int(group.WaveformBitsAllocated)
    if kind not in _TYPES or int(_TYPES[kind][1]) * 8 != bits:
        raise NotDiagnostic(Reason.UNSUPPORTED_ENCODING, f"{bits} bit samples of this interpretation")
    kind_of = np.dtype(f"<{_TYPES[kind]}")
    count, samples = int(group.NumberOfWaveformChannels), int(group.NumberOfWaveformSamples)
    channels = tuple(group.ChannelDefinitionSequence)
    rate = float(group.SamplingFrequency)
    if not (0 < count == len(channels) and samples > 0 and 0 < rate < 1e6):
        raise NotDiagnostic(Reason.DAMAGED, f"a group of {count} channels, {len(channels)} described, {rate} Hz")
    if count * samples > limits.max_pixels:
        raise NotDiagnostic(Reason.TOO_BIG, f"{count * samples} samples, {limits.max_pixels} are allowed")
    data = _little_endian(group, "WaveformData", big_endian)
    if len(data) < count * samples * kind_of.itemsize:
        raise NotDiagnostic(Reason.DAMAGED, f"{len(data)} bytes for {count} x {samples} samples of {bits} bits")
    raw = np.frombuffer(data, kind_of, count * samples).reshape(samples, count)
    padding = _little_endian(group, "WaveformPaddingValue", big_endian)[: kind_of.itemsize]
    offset = float(group.get("MultiplexGroupTimeOffset") or 0) / 1000
    return Multiplex(number, raw, int(np.frombuffer(padding, kind_of)[0]) if padding else None, rate, offset, channels)


def _little_endian(group: Dataset, keyword: str, big_endian: bool) -> bytes:
    """The bytes of a value; OW is a stream of 16-bit words, whatever they hold (PS3.5 6.2)."""
    data = bytes(group.get(keyword) or b"")
    if big_endian and data and group[keyword].VR == "OW":
        return np.frombuffer(data, "<u2").byteswap().tobytes()
    return data


def is_voltage(channel: Dataset) -> bool:
    """Whether a channel's unit is a voltage or not said: a pressure beside the ECG is none."""
    unit = _unit(channel)
    return not unit or unit in _MILLIVOLTS


def millivolts(group: Multiplex, index: int) -> NDArray[np.float32]:
    """A channel in mV, NaN where nothing was recorded, moved to the group's clock. Raises NotDiagnostic.

    Value = sample x sensitivity x correction factor + baseline; all in the unit of the sensitivity.
    """
    channel = group.channels[index]
    raw = group.raw[:, index]
    missing = np.zeros(len(raw), bool) if group.padding is None else raw == group.padding
    values = _sign_extended(raw.astype(np.int64), missing, channel, group.raw.dtype)
    scale = _MILLIVOLTS.get(_unit(channel), 0.0)
    factor = _sensitivity(channel) * scale
    if not factor:
        raise NotDiagnostic(Reason.UNSUPPORTED_ENCODING, "a channel without sensitivity: its millivolts are unknown")
    result = (values * factor + _decimal(channel, "ChannelBaseline", 0.0) * scale).astype(np.float32)
    result[missing] = np.nan
    return _on_the_groups_clock(result, _skew_s(channel, group.rate_hz) * group.rate_hz)


def _unit(channel: Dataset) -> str:
    units = channel.get("ChannelSensitivityUnitsSequence") or [Dataset()]
    return str(units[0].get("CodeValue") or "").strip()


def _sensitivity(channel: Dataset) -> float:
    correction = _decimal(channel, "ChannelSensitivityCorrectionFactor", 1.0)
    return _decimal(channel, "ChannelSensitivity", 0.0) * (correction or 1.0)


def _sign_extended(values: NDArray[Any], missing: NDArray[Any], channel: Dataset, kind: np.dtype[Any]) -> NDArray[Any]:
    """Signed samples of fewer stored bits whose sender left the bits above at zero."""
    bits = int(channel.get("WaveformBitsStored") or kind.itemsize * 8)
    if kind.kind != "i" or bits >= kind.itemsize * 8 or bits < 2:
        return values
    real = values[~missing]
    if real.size and real.min() >= 0 and 1 << (bits - 1) <= real.max() < 1 << bits:
        return np.where(values >= 1 << (bits - 1), values - (1 << bits), values)
    return values


def _skew_s(channel: Dataset, rate_hz: float) -> float:
    """When a channel's first sample was taken, from the group's start, in seconds (PS3.3 C.10.9.1.4.3)."""
    skew = _decimal(channel, "ChannelTimeSkew", 0.0) or _decimal(channel, "ChannelSampleSkew", 0.0) / rate_hz
    return skew + _decimal(channel, "ChannelOffset", 0.0)


def _on_the_groups_clock(values: NDArray[np.float32], samples: float) -> NDArray[np.float32]:
    """Later by a number of samples, rounded: half a sample at 240 Hz is 0.05 mm of paper."""
    shift = max(-len(values), min(len(values), round(samples)))
    if not shift:
        return values
    moved = np.full_like(values, np.nan)
    if shift > 0:
        moved[shift:] = values[:-shift]
    else:
        moved[:shift] = values[-shift:]
    return moved


def _decimal(channel: Dataset, keyword: str, default: float) -> float:
    value = channel.get(keyword)
    return default if value is None or value == "" else float(value)
