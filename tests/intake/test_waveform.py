"""Waveform objects: the right leads, the right millivolts, the right ten seconds; or a reason."""

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from core.errors import NotDiagnostic
from core.states import Reason
from dicom_node.ecg_object import EcgObject, Kind, Limits
from dicom_node.image import read_ecg
from tests.conftest import need_data
from tests.intake.image_objects import convert
from tests.intake.waveform_objects import LEADS, NUMBERS, Group, beats, build_waveform

REAL = {
    "12lead-eli250-1000hz.dcm": (1e-3, 1000.0),
    "12lead-eli250-500hz.dcm": (1e-3, 500.0),
    "general-ecg-muse.dcm": (1e-3, 500.0),
    "general-ecg-synthetic.dcm": (1e-3, 500.0),
    "hemodynamic-12lead-240hz.dcm": (1.0, 240.0),
}
LIMB = LEADS[:6]
CHEST = LEADS[6:]


def _read(dataset: Dataset, folder: Path) -> EcgObject:
    path = folder / "waveform.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return read_ecg(path, Limits())


def _leads(dataset: Dataset, folder: Path) -> dict[str, NDArray[np.float32]]:
    found = _read(dataset, folder)
    assert found.signal is not None
    return dict(found.signal.leads)


def _groups(found: EcgObject) -> set[int]:
    """Numbers of the multiplex groups that were read."""
    return {group for group, _channel in found.channels}


def _refusal(dataset: Dataset, folder: Path) -> Reason:
    with pytest.raises(NotDiagnostic) as refused:
        _read(dataset, folder)
    return refused.value.reason


def _assert_voltages(found: Mapping[str, NDArray], expected: Mapping[str, NDArray], mv: float) -> None:
    assert list(found) == [lead for lead in LEADS if lead in expected]
    for lead, values in expected.items():
        np.testing.assert_allclose(found[lead], values, atol=mv, err_msg=lead)


@pytest.mark.parametrize("name", [*REAL, "waveform_ecg.dcm"])
def test_a_real_recording_has_the_voltages_that_an_independent_reading_has(name: str) -> None:
    path = Path(get_testdata_file(name)) if name == "waveform_ecg.dcm" else need_data("dicom") / name
    to_millivolts, rate = REAL.get(name, (1e-3, 1000.0))
    found = read_ecg(path, Limits())
    assert found.signal is not None
    assert (found.kind, found.channels) == (Kind.WAVEFORM, tuple((1, number) for number in range(1, 13)))
    assert found.signal.sampling_rate_hz == rate
    expected = pydicom.dcmread(path).waveform_array(0) * to_millivolts
    assert list(found.signal.leads) == list(LEADS)
    for column, lead in enumerate(LEADS):
        np.testing.assert_allclose(found.signal.leads[lead], expected[:, column], atol=1e-5)


def test_the_first_samples_of_the_muse_file_are_those_counted_by_hand() -> None:
    """Sample x 1 uV x 4.88 (correction factor), bytes taken out of the file without a DICOM library."""
    path = need_data("dicom/general-ecg-muse.dcm")
    data = path.read_bytes()
    at = data.index(b"\x00\x54\x10\x10OW\x00\x00") + 12  # (5400,1010) of the first group
    raw = np.frombuffer(data[at : at + 2 * 12 * 5000], "<i2").reshape(5000, 12)
    signal = read_ecg(path, Limits()).signal
    assert signal is not None
    np.testing.assert_allclose(signal.leads["V3"], raw[:, LEADS.index("V3")] * 4.88 / 1000, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "tolerance_mv"),
    [
        pytest.param({}, 0.001, id="microvolts"),
        pytest.param({"unit": "mV", "sensitivity": 0.00122}, 0.001, id="millivolts"),
        pytest.param({"unit": "V", "sensitivity": 1e-6}, 0.001, id="volts"),
        pytest.param({"sensitivity": 1.0, "correction": 4.88}, 0.003, id="correction-factor"),
        pytest.param({"correction": None}, 0.001, id="no-correction-factor"),
        pytest.param({"baseline": 812.5}, 0.001, id="baseline"),
        pytest.param({"kind": "US", "baseline": -5000.0}, 0.001, id="unsigned"),
        pytest.param({"kind": "SB", "bits": 8, "sensitivity": 20.0}, 0.011, id="8-bit"),
        pytest.param({"kind": "UB", "bits": 8, "sensitivity": 20.0, "baseline": -2000.0}, 0.011, id="8-bit-unsigned"),
        pytest.param({"bits_stored": 12, "sensitivity": 2.0}, 0.0011, id="12-bit-not-sign-extended"),
        pytest.param({"kind": "SL", "bits": 32, "sensitivity": 0.01}, 0.001, id="32-bit"),
    ],
)
@pytest.mark.parametrize("syntax", ["+te", "+ti", "+tb"])
def test_every_way_to_store_a_voltage_gives_the_same_voltage(
    options: dict[str, object], tolerance_mv: float, syntax: str, tmp_path: Path
) -> None:
    expected = beats()
    build_waveform(Group(expected, **options)).save_as(tmp_path / "le.dcm", enforce_file_format=True)
    path = tmp_path / "sent.dcm"
    assert convert(tmp_path / "le.dcm", path, "dcmconv", syntax)
    signal = read_ecg(path, Limits()).signal
    assert signal is not None
    _assert_voltages(dict(signal.leads), expected, tolerance_mv)


def test_the_order_of_the_channels_does_not_matter(tmp_path: Path) -> None:
    shuffled = list(LEADS)
    np.random.default_rng(3).shuffle(shuffled)
    _assert_voltages(_leads(build_waveform(Group(beats(leads=shuffled))), tmp_path), beats(), 0.001)


@pytest.mark.parametrize(
    "codes",
    [
        pytest.param([(f"2:{n}", "MDC", "anything") for n in NUMBERS], id="mdc"),
        pytest.param([(str((2 << 16) + n), "MDC", "") for n in NUMBERS], id="mdc-number"),
        pytest.param([(f"MDC_ECG_LEAD_{lead.upper()}", "MDC", "") for lead in LEADS], id="mdc-reference-id"),
        pytest.param([(f"5.6.3-9-{n}", "SCPECG", "") for n in NUMBERS], id="scp-ecg"),
        pytest.param([(lead, "99VENDOR", "") for lead in LEADS], id="vendor-code"),
        pytest.param([("X", "99VENDOR", f"Lead {lead.upper()}") for lead in LEADS], id="vendor-meaning"),
        pytest.param([("X", "99V", f"{lead}, augmented voltage") for lead in LEADS], id="meaning-with-comment"),
        pytest.param([("X", "99V", f"ECG lead {lead} (Einthoven)") for lead in LEADS], id="meaning-with-name"),
    ],
)
def test_leads_are_known_by_every_coding_in_use(codes: list[tuple[str, str, str]], tmp_path: Path) -> None:
    named = dict(zip(LEADS, codes, strict=True))
    _assert_voltages(_leads(build_waveform(Group(beats(), codes=named)), tmp_path), beats(), 0.001)


def test_other_leads_are_not_taken_for_one_of_the_twelve(tmp_path: Path) -> None:
    """V7, V4R, -aVR, Frank's X and the paced lead of a loop recorder stand beside I, II and V1."""
    others = {
        "V2": ("2:9", "MDC", "V7"),
        "V3": ("X", "99V", "V4R"),
        "V4": ("X", "99V", "-aVR"),
        "V5": ("X", "99V", "X"),
    }
    group = Group(beats(leads=("I", "II", "V1", *others)), codes=others)
    assert list(_leads(build_waveform(group), tmp_path)) == [*LIMB, "V1"]


@pytest.mark.parametrize("pair", list(combinations(LIMB, 2)), ids="-".join)
def test_any_two_limb_leads_give_all_six(pair: tuple[str, str], tmp_path: Path) -> None:
    leads = _leads(build_waveform(Group(beats(leads=(*pair, *CHEST)), sensitivity=0.5)), tmp_path)
    _assert_voltages(leads, beats(), 0.002)


def test_the_rhythm_is_read_and_not_the_median_beat(tmp_path: Path) -> None:
    median = Group(
        {lead: values * 2 for lead, values in beats(1.2).items()}, label="MEDIAN BEAT", originality="DERIVED"
    )
    for label in ("Median", "AVERAGE BEAT", ""):
        median.label = label
        found = _read(build_waveform(median, Group(beats(), label="")), tmp_path)
        assert _groups(found) == {2}
        assert found.signal is not None
        np.testing.assert_allclose(found.signal.leads["II"], beats()["II"], atol=0.001)


def test_a_long_median_is_known_by_its_label(tmp_path: Path) -> None:
    """Some carts repeat the median beat over as many seconds as the rhythm strip has."""
    median = Group({lead: values * 2 for lead, values in beats(12).items()}, label="MEDIAN BEAT", originality="DERIVED")
    assert _groups(_read(build_waveform(median, Group(beats())), tmp_path)) == {2}


def test_an_object_of_nothing_but_a_median_beat_cannot_be_judged(tmp_path: Path) -> None:
    assert _refusal(build_waveform(Group(beats(1.2), label="MEDIAN")), tmp_path) is Reason.NO_PICTURE


def test_an_unreadable_group_does_not_hide_a_readable_one(tmp_path: Path) -> None:
    dataset = build_waveform(Group(beats(1.2), kind="MB", bits=8, sensitivity=20.0), Group(beats()))
    assert _groups(_read(dataset, tmp_path)) == {2}


@pytest.mark.parametrize("rate", [180.0, 240.0, 250.0, 500.0, 977.0, 1000.0, 2000.0])
def test_a_sampling_rate_is_kept(rate: float, tmp_path: Path) -> None:
    signal = _read(build_waveform(Group(beats(rate=rate), rate=rate)), tmp_path).signal
    assert signal is not None
    assert (signal.sampling_rate_hz, len(signal.leads["V6"])) == (rate, round(10 * rate))


def test_of_a_long_recording_the_undisturbed_ten_seconds_are_read(tmp_path: Path) -> None:
    long = beats(40)
    rng = np.random.default_rng(5)
    quiet = slice(17 * 500, 28 * 500)
    disturbed = np.ones(40 * 500, bool)
    disturbed[quiet] = False
    for lead in CHEST:
        long[lead] = long[lead] + disturbed * rng.normal(0, 0.3, len(disturbed))
    found = _leads(build_waveform(Group(long)), tmp_path)
    starts = [s for s in range(17, 19) if np.allclose(found["V3"], long["V3"][s * 500 : (s + 10) * 500], atol=0.001)]
    assert len(found["V3"]) == 5000
    assert starts


def test_loose_electrodes_are_avoided_where_the_recording_is_long_enough(tmp_path: Path) -> None:
    long = beats(25)
    for lead in CHEST:
        long[lead][: 12 * 500] = 0.0
    found = _leads(build_waveform(Group(long)), tmp_path)
    np.testing.assert_allclose(found["V1"], long["V1"][12 * 500 : 22 * 500], atol=0.001)


def test_what_was_not_recorded_is_no_number(tmp_path: Path) -> None:
    padded = beats()
    padded["V2"][1000:2000] = -32768 * 1.25 / 1000
    found = _leads(build_waveform(Group(padded, padding=-32768)), tmp_path)
    assert np.isnan(found["V2"][1000:2000]).all()
    assert np.isfinite(found["V2"][:1000]).all()
    assert np.isfinite(found["V3"]).all()


def test_a_lead_of_nothing_but_padding_is_not_there(tmp_path: Path) -> None:
    padded = beats()
    padded["V2"][:] = -32768 * 1.25 / 1000
    assert "V2" not in _leads(build_waveform(Group(padded, padding=-32768)), tmp_path)


@pytest.mark.parametrize(
    "skew",
    [{"ChannelTimeSkew": 0.04}, {"ChannelSampleSkew": "20"}, {"ChannelTimeSkew": 0.01, "ChannelOffset": 0.03}],
    ids=str,
)
def test_a_channel_that_began_later_is_moved_to_its_time(skew: dict[str, object], tmp_path: Path) -> None:
    late = beats()
    late["V4"] = np.roll(late["V4"], -20)  # its first sample was taken 40 ms after the group's start
    found = _leads(build_waveform(Group(late, extra={"V4": skew})), tmp_path)
    np.testing.assert_allclose(found["V4"][20:], beats()["V4"][20:], atol=0.001)
    assert np.isnan(found["V4"][:20]).all()


def test_leads_recorded_three_at_a_time_stay_one_after_the_other(tmp_path: Path) -> None:
    whole = beats()
    groups = [
        Group({lead: whole[lead][n * 1250 : (n + 1) * 1250] for lead in LEADS[3 * n : 3 * n + 3]}, offset_ms=2500.0 * n)
        for n in range(4)
    ]
    found = _leads(build_waveform(*groups), tmp_path)
    for n, lead in enumerate(LEADS[::3]):
        np.testing.assert_allclose(
            found[lead][n * 1250 : (n + 1) * 1250], whole[lead][n * 1250 : (n + 1) * 1250], atol=2e-3
        )
    assert len(found["V6"]) == 5000
    assert np.isnan(found["V6"][:3750]).all()


def test_leads_recorded_three_at_a_time_without_a_time_go_where_the_sheet_has_them(tmp_path: Path) -> None:
    whole = beats()
    groups = [Group({lead: whole[lead][:1250] for lead in LEADS[3 * n : 3 * n + 3]}) for n in range(4)]
    found = _leads(build_waveform(*groups), tmp_path)
    np.testing.assert_allclose(found["V5"][3750:], whole["V5"][:1250], atol=0.001)


def test_a_long_strip_below_the_columns_is_kept_whole(tmp_path: Path) -> None:
    whole = beats()
    groups = [
        Group({lead: whole[lead][n * 1250 : (n + 1) * 1250] for lead in LEADS[3 * n : 3 * n + 3]}, offset_ms=2500.0 * n)
        for n in range(4)
    ]
    strip = Group({"II": whole["II"]}, offset_ms=0.0)
    found = _leads(build_waveform(*groups, strip), tmp_path)
    np.testing.assert_allclose(found["II"], whole["II"], atol=0.002)
    assert np.isnan(found["I"][1250:]).all()
    others = tuple((1 + n, m) for n in range(4) for m in (1, 2, 3) if (n, m) != (0, 2))
    assert _read(build_waveform(*groups, strip), tmp_path).channels == (*others, (5, 1))


def test_pressures_beside_the_ecg_are_left_out(tmp_path: Path) -> None:
    dataset = build_waveform(Group(beats(leads=("I", "II", "V1", "V5"))), sop_class="1.2.840.10008.5.1.4.1.1.9.2.1")
    unit = dataset.WaveformSequence[0].ChannelDefinitionSequence[3].ChannelSensitivityUnitsSequence[0]
    unit.CodeValue = "mm[Hg]"
    found = _read(dataset, tmp_path)
    assert found.signal is not None
    assert list(found.signal.leads) == [*LIMB, "V1"]
    assert found.channels == ((1, 1), (1, 2), (1, 3))


@pytest.mark.parametrize("leads", [("II",), ("II", "V5")], ids="-".join)
def test_one_or_two_leads_are_too_few(leads: tuple[str, ...], tmp_path: Path) -> None:
    assert _refusal(build_waveform(Group(beats(leads=leads))), tmp_path) is Reason.TOO_FEW_LEADS


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        pytest.param({"kind": "MB", "bits": 8, "sensitivity": 20.0}, Reason.UNSUPPORTED_ENCODING, id="mu-law"),
        pytest.param({"kind": "AB", "bits": 8, "sensitivity": 20.0}, Reason.UNSUPPORTED_ENCODING, id="a-law"),
        pytest.param({"kind": "SS", "bits": 8, "sensitivity": 20.0}, Reason.UNSUPPORTED_ENCODING, id="impossible-type"),
        pytest.param({"sensitivity": None}, Reason.UNSUPPORTED_ENCODING, id="no-sensitivity"),
        pytest.param({"unit": "mm[Hg]"}, Reason.TOO_FEW_LEADS, id="no-voltage"),
    ],
)
def test_what_has_no_known_voltage_is_refused(options: dict[str, object], reason: Reason, tmp_path: Path) -> None:
    assert _refusal(build_waveform(Group(beats(), **options)), tmp_path) is reason


@pytest.mark.parametrize(
    ("keyword", "value", "reason"),
    [
        ("NumberOfWaveformSamples", 5001, Reason.DAMAGED),
        ("NumberOfWaveformSamples", 4_000_000_000, Reason.TOO_BIG),
        ("NumberOfWaveformSamples", 0, Reason.DAMAGED),
        ("NumberOfWaveformChannels", 11, Reason.DAMAGED),
        ("SamplingFrequency", 0, Reason.DAMAGED),
        ("SamplingFrequency", None, Reason.DAMAGED),
        ("ChannelDefinitionSequence", None, Reason.DAMAGED),
        ("WaveformData", b"", Reason.DAMAGED),
    ],
)
def test_a_group_that_lies_is_damaged(keyword: str, value: object, reason: Reason, tmp_path: Path) -> None:
    dataset = build_waveform(Group(beats()))
    setattr(dataset.WaveformSequence[0], keyword, value)
    assert _refusal(dataset, tmp_path) is reason


def test_an_object_without_a_group_holds_no_picture(tmp_path: Path) -> None:
    assert _refusal(build_waveform(), tmp_path) is Reason.NO_PICTURE
