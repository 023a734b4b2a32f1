"""A waveform object into one signal: the rhythm strip, up to twelve leads, the best readable ten seconds."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian

from core.errors import NotDiagnostic
from core.states import Reason
from core.values import Signal
from dicom_node.ecg_object import EcgObject, Kind, Limits
from dicom_node.leads import STANDARD_LEADS, Samples, lead_of, with_derived_limb_leads
from dicom_node.samples import Multiplex, is_voltage, millivolts, read_multiplex
from dicom_node.strip import best_start

STRIP_S = 10.0
LEAST_S = 2.0  # a beat or two: less is a median beat, whatever it is called
LEAST_LEADS = 3
_BEAT = re.compile(r"median|average|averaged|avg|template|representative|mean beat", re.IGNORECASE)
_COLUMN_S = 2.5  # of the standard sheet
_MOST_SPREAD_S = 60.0
_MOST_GROUPS = 64


@dataclass(frozen=True, slots=True, eq=False)
class _Rhythm:
    """A group that may be drawn: the channel of each standard lead it holds."""

    group: Multiplex
    channels: dict[str, int]


def read_waveform(dataset: Dataset, limits: Limits) -> EcgObject:
    """The rhythm of a 12-lead, General, Ambulatory or Hemodynamic object in millivolts. Raises NotDiagnostic.

    A strip keeps its sampling rate. Samples that were not recorded are NaN.
    """
    chosen = _chosen(_list_rhythms(dataset, limits))
    rate = chosen[0].group.rate_hz
    placed, channels = _placed(chosen, rate)
    leads = with_derived_limb_leads(placed)
    if len(leads) < LEAST_LEADS:
        raise NotDiagnostic(Reason.TOO_FEW_LEADS, f"{len(leads)} of the twelve leads, {LEAST_LEADS} are needed")
    first = best_start(leads, rate, STRIP_S)
    last = first + round(STRIP_S * rate)
    strip = {lead: np.ascontiguousarray(values[first:last]) for lead, values in leads.items()}
    return EcgObject(Kind.WAVEFORM, signal=Signal(strip, rate), channels=channels)


def _list_rhythms(dataset: Dataset, limits: Limits) -> list[_Rhythm]:
    """Every group that holds a strip of standard leads. Raises what the first unreadable group raised if none does."""
    big_endian = dataset.file_meta.get("TransferSyntaxUID") == ExplicitVRBigEndian
    rhythms, refused, leads = [], [], 0
    if not dataset.WaveformSequence:
        raise NotDiagnostic(Reason.NO_PICTURE, "no multiplex group")
    for number, item in enumerate(dataset.WaveformSequence[:_MOST_GROUPS], start=1):
        try:
            group = read_multiplex(item, number, big_endian, limits)
        except NotDiagnostic as error:
            refused.append(error)
            continue
        channels = _standard_channels(group)
        leads = max(leads, len(channels))
        if channels and not _is_beat(item, group):
            rhythms.append(_Rhythm(group, channels))
    if rhythms:
        return rhythms
    if refused:
        raise refused[0]
    if leads < LEAST_LEADS:
        raise NotDiagnostic(Reason.TOO_FEW_LEADS, f"{leads} channels are one of the twelve leads, in volts")
    raise NotDiagnostic(Reason.NO_PICTURE, f"no strip of {LEAST_S:g} s or more")


def _is_beat(item: Dataset, group: Multiplex) -> bool:
    """A median beat instead of a strip: by its label, or too short for anything else."""
    return group.duration_s < LEAST_S or bool(_BEAT.search(str(item.get("MultiplexGroupLabel") or "")))


def _standard_channels(group: Multiplex) -> dict[str, int]:
    """The first voltage channel of each standard lead."""
    found: dict[str, int] = {}
    for index, channel in enumerate(group.channels):
        lead = lead_of(channel)
        if lead and is_voltage(channel):
            found.setdefault(lead, index)
    return found


def _chosen(rhythms: Sequence[_Rhythm]) -> list[_Rhythm]:
    """The group with the most leads, then the longest; then whichever groups add to it at the same rate."""
    ordered = sorted(rhythms, key=lambda r: (-len(r.channels), -r.group.duration_s, r.group.number))
    chosen = [ordered[0]]
    lengths = dict.fromkeys(ordered[0].channels, ordered[0].group.duration_s)
    for rhythm in ordered[1:]:
        seconds = rhythm.group.duration_s
        added = [lead for lead in rhythm.channels if _is_longer(seconds, lengths.get(lead, 0.0))]
        if added and rhythm.group.rate_hz == ordered[0].group.rate_hz:
            chosen.append(rhythm)
            lengths |= dict.fromkeys(added, seconds)
    return chosen


def _is_longer(seconds: float, known_s: float) -> bool:
    """A lead of the 3x4 part of a printout may have a longer strip below."""
    return known_s < STRIP_S / 2 and seconds > known_s


def _placed(chosen: Sequence[_Rhythm], rate: float) -> tuple[dict[str, Samples], tuple[tuple[int, int], ...]]:
    """Each lead on one clock, and the (group, channel) pairs that hold them.

    Groups recorded one after the other (three leads at a time) stay one after the other.
    """
    begins = [round(begin * rate) for begin in _begins(chosen)]
    length = max(begin + len(rhythm.group.raw) for rhythm, begin in zip(chosen, begins, strict=True))
    leads: dict[str, Samples] = {}
    sources: dict[str, tuple[int, int]] = {}
    for rhythm, begin in sorted(zip(chosen, begins, strict=True), key=lambda pair: len(pair[0].group.raw)):
        for lead, index in rhythm.channels.items():
            values = millivolts(rhythm.group, index)
            if np.isfinite(values).any():
                leads[lead] = np.full(length, np.nan, np.float32)
                leads[lead][begin : begin + len(values)] = values
                sources[lead] = (rhythm.group.number, index + 1)
    return leads, tuple(sorted(sources.values()))


def _begins(chosen: Sequence[_Rhythm]) -> list[float]:
    """When each group begins, in seconds from the first. Short groups that say nothing go where the sheet has them."""
    offsets = [rhythm.group.offset_s for rhythm in chosen]
    short = [rhythm for rhythm in chosen if rhythm.group.duration_s < STRIP_S / 2]
    if len(short) > 1 and len({rhythm.group.offset_s for rhythm in short}) == 1:
        return [_column_s(rhythm) if rhythm in short else 0.0 for rhythm in chosen]
    if max(offsets) - min(offsets) > _MOST_SPREAD_S:
        return [0.0 for _ in chosen]
    return [offset - min(offsets) for offset in offsets]


def _column_s(rhythm: _Rhythm) -> float:
    return min(map(STANDARD_LEADS.index, rhythm.channels)) // 3 * _COLUMN_S
