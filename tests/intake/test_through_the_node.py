"""Every file of the real data, and those that come with pydicom, pushed through a running node: each ends as it should.

Which label an ECG gets, or whether it is called uncertain, is the network's to say and may change with its release;
what may never be judged does not.
"""

import json
import struct
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pydicom.data
import pytest
from PIL import Image, ImageDraw, ImageFont
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, RLELossless, generate_uid
from sqlalchemy import select

from core.errors import Rejected
from core.files import result_name
from core.states import JobState, Reason
from core.values import Label
from dicom_node.contexts import STORAGE_CLASSES
from dicom_node.scu import Outgoing, Verdict
from dicom_node.wrap import outgoing_of
from model.card import read_card, shipped_model_dir
from model.rendering import draw_sheet
from model.synthetic import synthetic_signal
from records.queries import EcgSummary
from records.tables import Classification, Disposition, Instance, Report
from tests.conftest import DATA, need_data
from tests.intake.image_objects import Format, build_image, ecg_like, photograph
from tests.intake.pdf_objects import build_pdf, encapsulate_pdf
from tests.intake.test_related_objects import outgoing
from tests.intake.waveform_objects import Group, beats, build_waveform
from tests.node import Node, running_node

JUDGED = "judged"
# Photographs of a gate's making: it may refuse some as unreadable, but not many
GATED = frozenset({Reason.NOT_AN_ECG, Reason.UNREADABLE, Reason.TOO_FEW_LEADS, Reason.UPSIDE_DOWN})
LEAST_PHOTOS_JUDGED = 27
REAL: Mapping[str, str | Reason] = {
    "dicom/12lead-eli250-1000hz.dcm": JUDGED,
    "dicom/12lead-eli250-500hz.dcm": JUDGED,
    "dicom/general-ecg-muse.dcm": JUDGED,
    "dicom/general-ecg-synthetic.dcm": JUDGED,
    "dicom/hemodynamic-12lead-240hz.dcm": JUDGED,
    "dicom/anonymous_ecg_3x4.png": JUDGED,
    "dicom/anonymous_ecg_3x4_1.pdf": JUDGED,
    "dicom/edge-1channel.dcm": Reason.TOO_FEW_LEADS,
    "negatives/encapsulated-pdf-generic.dcm": Reason.BLANK,
    "negatives/encapsulated-pdf-not-ecg.dcm": Reason.NOT_AN_ECG,
    "pages/abnormal_heartbeat/HB(118).jpg": JUDGED,
    "pages/abnormal_heartbeat/HB(93).jpg": JUDGED,
    "pages/abnormal_heartbeat/HB(94).jpg": JUDGED,
    "pages/history_of_mi/PMI(10).jpg": JUDGED,
    "pages/history_of_mi/PMI(25).jpg": JUDGED,
    "pages/history_of_mi/PMI(63).jpg": JUDGED,
    "pages/myocardial_infarction/MI(18).jpg": JUDGED,
    "pages/myocardial_infarction/MI(29).jpg": JUDGED,
    "pages/myocardial_infarction/MI(8).jpg": JUDGED,
    "pages/normal/Normal(119).jpg": JUDGED,
    "pages/normal/Normal(31).jpg": JUDGED,
    "pages/normal/Normal(66).jpg": JUDGED,
}
# What this release of the model says of those that it is not in two minds about
RELEASE = "0.6.0"
SAID: Mapping[str, Label] = {
    "dicom/12lead-eli250-500hz.dcm": Label.MYOCARDIAL_INFARCTION,
    "dicom/general-ecg-muse.dcm": Label.NORMAL,
    "dicom/general-ecg-synthetic.dcm": Label.NORMAL,
    "dicom/hemodynamic-12lead-240hz.dcm": Label.ABNORMAL_HEARTBEAT,
    "dicom/anonymous_ecg_3x4_1.pdf": Label.NORMAL,
    "pages/abnormal_heartbeat/HB(118).jpg": Label.ABNORMAL_HEARTBEAT,
    "pages/abnormal_heartbeat/HB(93).jpg": Label.ABNORMAL_HEARTBEAT,
    "pages/abnormal_heartbeat/HB(94).jpg": Label.ABNORMAL_HEARTBEAT,
    "pages/history_of_mi/PMI(10).jpg": Label.MYOCARDIAL_INFARCTION,
    "pages/history_of_mi/PMI(63).jpg": Label.MYOCARDIAL_INFARCTION,
    "pages/myocardial_infarction/MI(18).jpg": Label.MYOCARDIAL_INFARCTION,
    "pages/myocardial_infarction/MI(29).jpg": Label.MYOCARDIAL_INFARCTION,
    "pages/myocardial_infarction/MI(8).jpg": Label.MYOCARDIAL_INFARCTION,
    "pages/normal/Normal(119).jpg": Label.NORMAL,
    "pages/normal/Normal(66).jpg": Label.NORMAL,
}
# The same laid upside down: turned and judged as they are upright, or refused where the turn is not sure
DRAWN = "drawn"
UPSIDE_DOWN: Mapping[str, str | Reason] = {
    DRAWN: JUDGED,
    "sheets/normal/Normal(1).jpg": JUDGED,
    "pages/normal/Normal(31).jpg": JUDGED,
    "photos/ecg00009.jpg": JUDGED,
    "photos/ecg00025.jpg": Reason.UPSIDE_DOWN,
}
# Two files of one UID: the second would rightly be kept as a conflict
NEW_UID = frozenset({"dicom/edge-1channel.dcm"})
PHOTOS = sorted(path.name for path in (DATA / "photos").glob("*.jpg"))

SAMPLES = Path(pydicom.data.__file__).parent
WHEEL = sorted(
    path
    for folder in ("test_files", "charset_files")
    for path in (SAMPLES / folder).rglob("*")
    if path.is_file() and path.suffix not in (".py", ".pyc")
)
NOT_PUSHED = "no DICOM file, and none that can be wrapped"
# How some of them end; every other one must end in one of these ways, too
OF_WHEEL: Mapping[str, str] = {
    "waveform_ecg.dcm": JUDGED,
    "CT_small.dcm": Reason.NOT_AN_ECG,  # a class that this site keeps, without having it judged
    "SC_rgb_rle_2frame.dcm": Reason.BLANK,
    "test-SR.dcm": Reason.NOT_AN_ECG,
    "MR_truncated.dcm": "refused 0xc001",
    "JPEGLSNearLossless_08.dcm": "refused 0xc003",  # without the UIDs of study and series
    "SC_rgb_jpeg.dcm": "refused 0xc000",
    "no_meta.dcm": NOT_PUSHED,
    "zipMR.gz": NOT_PUSHED,
}
LESS_OFTEN = pytest.mark.faults
ENDED_S = 400.0  # fifty ECGs wait in the queue before the last one
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    kept = json.dumps(sorted(_classes_of_wheel() - set(STORAGE_CLASSES)))
    with running_node(tmp_path_factory.mktemp("node"), "work", "listen", more_storage_classes=kept) as running:
        yield running


def _classes_of_wheel() -> set[str]:
    return {one.sop_class_uid for path in WHEEL if (one := _outgoing(path)) and one.sop_class_uid}


def _outgoing(path: Path) -> Outgoing | None:
    try:
        return outgoing_of(path)
    except Rejected:
        return None


@pytest.fixture(scope="module")
def pushed(node: Node, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """All real files, sent on one association before the first answer is waited for; SOP instance UIDs by name."""
    names = [name for name in (*REAL, *(f"photos/{photo}" for photo in PHOTOS)) if (DATA / name).exists()]
    objects = {
        name: outgoing_of(_with_new_uid(name, tmp_path_factory) if name in NEW_UID else DATA / name) for name in names
    }
    outcomes = node.push(objects.values())
    assert [outcome.verdict for outcome in outcomes] == [Verdict.DELIVERED] * len(names)
    return {name: one.sop_instance_uid for name, one in objects.items()}


def _with_new_uid(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    dataset = dcmread(DATA / name)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    path = tmp_path_factory.mktemp("changed") / "object.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path


def _end(summary: EcgSummary) -> str | Reason:
    """`JUDGED` for a label or honest uncertainty, else the coded reason."""
    if summary.state is JobState.DONE:
        assert all(label in set(Label) for label in summary.labels)
        return JUDGED
    assert (summary.state, summary.labels) == (JobState.NOT_DIAGNOSTIC, (None,) * len(summary.labels))
    reason = Reason((summary.reason or "").split(":")[0])
    return JUDGED if reason is Reason.UNCERTAIN else reason


@pytest.mark.parametrize("name", REAL)
def test_a_real_file_ends_as_it_should(name: str, node: Node, pushed: Mapping[str, str]) -> None:
    need_data(name)
    summary = node.wait_ended(pushed[name], ENDED_S)
    assert _end(summary) == REAL[name]
    if name in SAID:
        assert read_card(shipped_model_dir()).version == RELEASE, "write down what the new release says of these files"
        assert summary.labels == (SAID[name],) * len(summary.labels)


def test_photographs_of_ecgs_are_judged_or_refused_by_the_gate(node: Node, pushed: Mapping[str, str]) -> None:
    need_data("photos")
    ends = [_end(node.wait_ended(pushed[f"photos/{photo}"], ENDED_S)) for photo in PHOTOS]
    assert set(ends) <= {JUDGED, *GATED}
    assert ends.count(JUDGED) >= LEAST_PHOTOS_JUDGED


@pytest.mark.parametrize("name", UPSIDE_DOWN)
def test_a_sheet_that_lies_upside_down_ends_as_it_does_upright_or_says_why_not(
    name: str, node: Node, tmp_path: Path
) -> None:
    upright, turned = (outgoing(photograph(np.rot90(_picture(name), way)), tmp_path) for way in (0, 2))
    assert {one.verdict for one in node.push([upright, turned])} == {Verdict.DELIVERED}
    first, second = (node.wait_ended(one.sop_instance_uid, ENDED_S) for one in (upright, turned))
    assert (_end(first), _end(second)) == (JUDGED, UPSIDE_DOWN[name])
    if name == DRAWN:
        assert second.labels == first.labels


def _picture(name: str) -> np.ndarray:
    if name == DRAWN:
        return draw_sheet(synthetic_signal(70)).rgb
    with Image.open(need_data(name)) as image:
        return np.asarray(image.convert("RGB"))


@LESS_OFTEN
@pytest.mark.parametrize("name", [name for name in REAL if name.startswith("pages/") and "history" not in name])
def test_a_page_is_never_given_another_label_than_its_own(name: str, node: Node, pushed: Mapping[str, str]) -> None:
    """The network has seen these exams: a wrong label means that something is put together wrongly."""
    need_data(name)
    assert node.wait_ended(pushed[name], ENDED_S).labels[0] in (name.split("/")[1], None)


def test_the_report_names_the_channels_that_were_read(node: Node, pushed: Mapping[str, str]) -> None:
    need_data("dicom/12lead-eli250-500hz.dcm")
    summary = node.wait_ended(pushed["dicom/12lead-eli250-500hz.dcm"], ENDED_S)
    (report,) = [one for one in _reports(node, summary) if one.Modality == "SR"]
    (referenced,) = _referenced_channels(report)
    assert referenced == [number for channel in range(1, 13) for number in (1, channel)]


def _reports(node: Node, summary: EcgSummary) -> list[Dataset]:
    with node.database.reading() as session:
        names = session.scalars(select(Report.sha256).where(Report.ecg_id == summary.ecg_id)).all()
    return [dcmread(node.folder / result_name(name)) for name in names]


def _referenced_channels(item: Dataset) -> list[list[int]]:
    found = [
        list(one.ReferencedWaveformChannels)
        for one in item.get("ReferencedSOPSequence", [])
        if "ReferencedWaveformChannels" in one
    ]
    return found + [one for child in item.get("ContentSequence", []) for one in _referenced_channels(child)]


def test_a_report_names_the_object_of_the_same_ecg_that_came_before(node: Node, tmp_path: Path) -> None:
    waveform, pdf = build_waveform(Group(beats())), encapsulate_pdf(build_pdf())
    first, second = outgoing(waveform, tmp_path), outgoing(pdf, tmp_path, waveform)
    node.push([first])
    node.wait_ended(first.sop_instance_uid, ENDED_S)
    node.push([second])
    summary = node.wait_ended(second.sop_instance_uid, ENDED_S)
    (report,) = _reports(node, summary)
    texts = [item.get("TextValue") for part in report.ContentSequence for item in part.get("ContentSequence", [])]
    assert f"General ECG Waveform {first.sop_instance_uid}" in texts


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.name, marks=() if path.name in OF_WHEEL else LESS_OFTEN) for path in WHEEL],
)
def test_every_file_that_comes_with_pydicom_ends_in_a_named_state(path: Path, node: Node) -> None:
    found = _end_of_wheel(path, node)
    assert found in (OF_WHEEL.get(path.name, found), Disposition.CONFLICT, Disposition.OTHER_SYNTAX)
    assert (
        found in (NOT_PUSHED, Disposition.CONFLICT, Disposition.OTHER_SYNTAX, *Reason)
        or found.startswith("refused")
        or path.name == "waveform_ecg.dcm"
    )


def _end_of_wheel(path: Path, node: Node) -> str | Reason:
    """Several of these files share a UID: all but the first are kept without being judged."""
    one = _outgoing(path)
    if one is None:
        return NOT_PUSHED
    (outcome,) = node.push([one])
    if outcome.verdict is not Verdict.DELIVERED:
        assert outcome.status is not None
        return f"refused {outcome.status:#06x}"
    with node.database.reading() as session:
        rows = select(Instance).where(Instance.sop_instance_uid == one.sop_instance_uid).order_by(Instance.id.desc())
        last = session.scalars(rows).first()
        assert last is not None
        if last.disposition != Disposition.ACCEPTED:
            return last.disposition
    return _end(node.wait_ended(one.sop_instance_uid, ENDED_S))


def _encapsulated(frame: bytes, syntax: str, rows: int, columns: int) -> Dataset:
    format_ = Format("grey", "MONOCHROME2", 8, 8)
    dataset = build_image(format_, ecg_like(format_))
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.Rows, dataset.Columns = rows, columns
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    return dataset


def test_t15_bombs_through_the_node_end_with_their_reason_and_the_next_ecg_is_fine(node: Node, tmp_path: Path) -> None:
    """Seen to fail with the size check of the header taken out."""
    rle = struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\x07" * 4_000_000
    good = build_waveform(Group(beats()))
    bombs = {
        Reason.TOO_BIG: [
            outgoing(_encapsulated(rle, RLELossless, 65535, 65535), tmp_path),
            outgoing(_encapsulated(b"\xff\xd8\xff\xd9", JPEGBaseline8Bit, 65500, 65500), tmp_path),
        ],
        Reason.DAMAGED: [outgoing(_encapsulated(rle[:600], RLELossless, 1000, 1000), tmp_path)],
    }
    objects = [*bombs[Reason.TOO_BIG], *bombs[Reason.DAMAGED], outgoing(good, tmp_path)]
    assert {one.verdict for one in node.push(objects)} == {Verdict.DELIVERED}
    for reason, some in bombs.items():
        for one in some:
            summary = node.wait_ended(one.sop_instance_uid, ENDED_S)
            assert _end(summary) is reason
            assert _decode_ms(node, summary) < 1000 * (node.settings.decode_timeout_s + 2)
    assert _end(node.wait_ended(good.SOPInstanceUID, ENDED_S)) == JUDGED
    assert _peak_memory(node.processes["listen"].pid) < 512 << 20


def _decode_ms(node: Node, summary: EcgSummary) -> float:
    with node.database.reading() as session:
        (model,) = session.scalars(select(Classification.model).where(Classification.ecg_id == summary.ecg_id))
    return float(model["timings_ms"]["decode"])


def _peak_memory(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def test_a_name_in_header_or_picture_reaches_no_log(node: Node, tmp_path: Path) -> None:
    """Values that break their VR's rules, too: pydicom warns of them with the value."""
    format_ = Format("rgb", "RGB", 8, 8)
    page = Image.new("RGB", (900, 600), "white")
    ImageDraw.Draw(page).text((20, 20), "ZZCANARY^NAME", fill=(0, 0, 0), font=ImageFont.load_default(40))
    objects = [
        build_image(format_, np.asarray(page)[None]),
        build_waveform(Group(beats())),
        encapsulate_pdf(b"ZZCANARY"),
    ]
    for dataset in objects:
        dataset.PatientName, dataset.PatientID = "ZZCANARY^NAME", "ZZCANARYID"
        dataset.StudyDescription = "ZZCANARY" * 20
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset.PatientBirthDate, dataset.PatientAge = "ZZCANARY", "ZZCANARYAGE"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sent = [outgoing(dataset, tmp_path) for dataset in objects]
    node.push(sent)
    for one in sent:
        node.wait_ended(one.sop_instance_uid, ENDED_S)
    for name in node.processes:
        assert "ready" in node.log(name)
        assert "ZZCANARY" not in node.log(name)
