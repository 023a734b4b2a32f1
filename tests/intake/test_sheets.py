"""A waveform is drawn true to scale: amplitudes and intervals measured back from the picture are the signal's.

Seen to fail with a gain of 9 mm/mV, and with the thinning that keeps one value a pixel column instead of two.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.data import get_testdata_file

from core.values import Signal
from dicom_node.ecg_object import Limits
from dicom_node.image import read_ecg
from model.rendering import LEADS, STANDARD_SHEET, draw_sheet, draw_standard_sheet
from tests.conftest import need_data
from tests.intake.waveform_objects import beats
from worker.decoder_child import centred

REAL = (
    "12lead-eli250-1000hz.dcm",
    "12lead-eli250-500hz.dcm",
    "general-ecg-muse.dcm",
    "general-ecg-synthetic.dcm",
    "hemodynamic-12lead-240hz.dcm",
    "waveform_ecg.dcm",
)
PX_PER_MV = STANDARD_SHEET.gain_mm_per_mv * STANDARD_SHEET.px_per_mm
PX_PER_S = STANDARD_SHEET.speed_mm_per_s * STANDARD_SHEET.px_per_mm
COLUMN_S = STANDARD_SHEET.seconds / 4
LEAST_MV = 0.5  # a smaller wave is 25 px high: a pixel more or less says too much
LINE_PX = 1  # how much of a line two pixels wide stands over its middle, above and below together


def _signal(name: str) -> Signal:
    path = Path(str(get_testdata_file(name))) if name == "waveform_ecg.dcm" else need_data(f"dicom/{name}")
    signal = read_ecg(path, Limits()).signal
    assert signal is not None
    return centred(signal)


def _trace_of(lead: str, signal: Signal) -> NDArray[np.bool_]:
    """Pixels of one lead's trace in the standard sheet, drawn without its neighbours."""
    values, rate = signal.leads[lead], signal.sampling_rate_hz
    begin = round(LEADS.index(lead) // 3 * COLUMN_S * rate)
    drawn = draw_standard_sheet(Signal({lead: values}, rate))
    height, width = drawn.rgb.shape[:2]
    margin_mm = (width - draw_sheet(Signal({}, rate)).rgb.shape[1]) / 2 / STANDARD_SHEET.px_per_mm
    style = replace(STANDARD_SHEET, margin_mm=STANDARD_SHEET.margin_mm + margin_mm)
    bare = draw_sheet(Signal({lead: np.zeros(begin + 2, np.float32)}, rate), style)
    box = drawn.leads[-1].box  # of lead II the rhythm strip
    middle = (box.top + box.bottom) / 2 * height
    # Lead II stands in a column as well, two rows above its strip
    rows = slice(round(middle - STANDARD_SHEET.row_mm * STANDARD_SHEET.px_per_mm) if lead == "II" else 0, height)
    columns = slice(round(box.left * width), round(box.right * width) + 1)
    found: NDArray[np.bool_] = (drawn.rgb != bare.rgb).any(axis=-1)[rows, columns]
    return found


def _shown(lead: str, signal: Signal) -> NDArray[np.float32]:
    """The samples that stand in the sheet's box of a lead."""
    rate = signal.sampling_rate_hz
    if lead == "II":
        return signal.leads[lead][: round(STANDARD_SHEET.seconds * rate)]
    begin = round(LEADS.index(lead) // 3 * COLUMN_S * rate)
    return signal.leads[lead][begin : begin + round(COLUMN_S * rate)]


@pytest.mark.parametrize("name", REAL)
def test_amplitudes_measured_in_the_picture_are_the_signals(name: str) -> None:
    signal, measured = _signal(name), 0
    for lead in LEADS:
        expected = float(np.ptp(_shown(lead, signal)))
        if expected >= LEAST_MV:
            rows = np.flatnonzero(_trace_of(lead, signal).any(axis=1))
            found = (rows[-1] - rows[0] + 1 - LINE_PX) / PX_PER_MV
            assert found == pytest.approx(expected, rel=0.05), lead
            measured += 1
    assert measured >= 8


def _beats(height: NDArray[np.floating]) -> NDArray[np.float64]:
    """Where the steepest waves stand, in samples: the middle of each run above 60 % of the highest."""
    above = np.flatnonzero(height > 0.6 * height.max())
    runs = np.split(above, np.flatnonzero(np.diff(above) > len(height) / 100) + 1)
    return np.array([run.mean() for run in runs])


@pytest.mark.parametrize("name", REAL)
def test_intervals_measured_in_the_picture_are_the_signals(name: str) -> None:
    signal = _signal(name)
    values = np.nan_to_num(_shown("II", signal))
    sign = 1.0 if values.max() > -values.min() else -1.0
    trace = _trace_of("II", signal)
    middle = STANDARD_SHEET.row_mm * STANDARD_SHEET.px_per_mm
    rows = np.arange(trace.shape[0])[:, None]
    tops = np.where(trace, sign * (middle - rows), -np.inf).max(axis=0)
    expected = np.diff(_beats(sign * values)) / signal.sampling_rate_hz
    found = np.diff(_beats(np.where(np.isfinite(tops), tops, 0.0))) / PX_PER_S
    assert len(found) == len(expected) >= 5
    np.testing.assert_allclose(found, expected, rtol=0.05)


def test_a_sheet_of_ordinary_waves_is_the_one_that_the_network_was_trained_on() -> None:
    signal = centred(Signal({lead: values.astype(np.float32) for lead, values in beats().items()}, 500.0))
    np.testing.assert_array_equal(draw_standard_sheet(signal).rgb, draw_sheet(signal).rgb)


@pytest.mark.parametrize(("lead", "millivolts"), [("V4", 6.0), ("V4", -12.0), ("III", -5.0), ("II", -2.5)])
def test_no_wave_is_cut_off_at_the_edge_of_the_paper(lead: str, millivolts: float) -> None:
    values = np.zeros(5000, np.float32)
    values[::400] = millivolts
    rows = np.flatnonzero(_trace_of(lead, Signal({lead: values}, 500.0)).any(axis=1))
    assert (rows[-1] - rows[0]) / PX_PER_MV == pytest.approx(abs(millivolts), rel=0.05)
