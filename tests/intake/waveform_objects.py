"""Made-up waveform objects: beats whose voltages are known, in every way that PS3.3 C.10.9 lets a sender store them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

GENERAL_ECG = "1.2.840.10008.5.1.4.1.1.9.1.2"
LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
NUMBERS = (1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8)
Voltages = Mapping[str, NDArray[np.float64]]


def beats(seconds: float = 10.0, rate: float = 500.0, leads: Sequence[str] = LEADS) -> dict[str, NDArray[np.float64]]:
    """Twelve leads in mV that obey Einthoven and Goldberger: P, QRS and T every 0.8 s, different in each lead."""
    phase = (np.arange(round(seconds * rate)) / rate) % 0.8

    def wave(p: float, q: float, r: float, t: float) -> NDArray[np.float64]:
        bumps = ((0.10, 0.02, p), (0.19, 0.008, -q), (0.21, 0.011, r), (0.24, 0.010, -q), (0.42, 0.04, t))
        return sum(height * np.exp(-(((phase - at) / width) ** 2)) for at, width, height in bumps)

    one, two = wave(0.08, 0.05, 0.7, 0.2), wave(0.12, 0.1, 1.1, 0.3)
    known = {
        **{"I": one, "II": two, "III": two - one},
        **{"aVR": -(one + two) / 2, "aVL": one - two / 2, "aVF": two - one / 2},
        **{f"V{n}": wave(0.1, 0.1 * n, 0.3 * n - 0.8, 0.1 * n) for n in range(1, 7)},
    }
    return {lead: known[lead] for lead in leads}


@dataclass
class Group:
    """How one multiplex group is stored; `voltages` in mV, one channel each, in that order."""

    voltages: Voltages
    rate: float = 500.0
    label: str = "RHYTHM"
    originality: str = "ORIGINAL"
    kind: str = "SS"
    bits: int = 16
    bits_stored: int | None = None
    sensitivity: float | None = 1.25
    correction: float | None = 1.0
    baseline: float = 0.0
    unit: str = "uV"
    offset_ms: float | None = None
    padding: int | None = None
    codes: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    extra: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


def scp(lead: str) -> tuple[str, str, str]:
    """Code, scheme and meaning in SCP-ECG's way."""
    return f"5.6.3-9-{NUMBERS[LEADS.index(lead)]}", "SCPECG", f"Lead {lead}"


def stored(group: Group, millivolts: NDArray[np.float64]) -> NDArray[np.int64]:
    """Samples that stand for these voltages: (value - baseline) / (sensitivity x correction)."""
    units = millivolts * {"uV": 1000.0, "mV": 1.0, "V": 0.001}.get(group.unit, 1000.0)
    step = (group.sensitivity or 1.0) * (group.correction or 1.0)
    return np.rint((units - group.baseline) / step).astype(np.int64)


def build_group(group: Group) -> Dataset:
    item = Dataset()
    samples = np.stack([stored(group, values) for values in group.voltages.values()], axis=-1)
    item.WaveformOriginality, item.MultiplexGroupLabel = group.originality, group.label
    item.NumberOfWaveformSamples, item.NumberOfWaveformChannels = samples.shape
    item.SamplingFrequency = group.rate
    item.WaveformBitsAllocated, item.WaveformSampleInterpretation = group.bits, group.kind
    if group.offset_ms is not None:
        item.MultiplexGroupTimeOffset = group.offset_ms
    item.ChannelDefinitionSequence = Items([_channel(group, lead) for lead in group.voltages])
    mask = (1 << (group.bits_stored or group.bits)) - 1
    item.WaveformData = (samples & mask).astype(f"<u{group.bits // 8}").tobytes()
    if len(item.WaveformData) % 2:
        item.WaveformData += b"\0"
    item["WaveformData"].VR = "OB" if group.bits == 8 else "OW"
    if group.padding is not None:
        item.WaveformPaddingValue = (group.padding & ((1 << group.bits) - 1)).to_bytes(2, "little")
        item["WaveformPaddingValue"].VR = "OB" if group.bits == 8 else "OW"
    return item


def _channel(group: Group, lead: str) -> Dataset:
    channel, source = Dataset(), Dataset()
    source.CodeValue, source.CodingSchemeDesignator, source.CodeMeaning = group.codes.get(lead) or scp(lead)
    channel.ChannelSourceSequence = Items([source])
    if group.sensitivity is not None:
        unit = Dataset()
        unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = group.unit, "UCUM", "unit"
        channel.ChannelSensitivity, channel.ChannelSensitivityUnitsSequence = group.sensitivity, Items([unit])
        channel.ChannelBaseline = group.baseline
        if group.correction is not None:
            channel.ChannelSensitivityCorrectionFactor = group.correction
    channel.WaveformBitsStored = group.bits_stored or group.bits
    channel.ChannelSampleSkew = "0"
    for keyword, value in group.extra.get(lead, {}).items():
        setattr(channel, keyword, value)
    return channel


def build_waveform(*groups: Group, sop_class: str = GENERAL_ECG) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.PatientID, dataset.PatientName, dataset.Modality = "T1", "Test^Ecg", "ECG"
    dataset.WaveformSequence = Items([build_group(group) for group in groups])
    return dataset
