"""Several objects of one ECG: each is answered and says what it belongs to, or the waveform speaks for all."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import select, update

from core.settings import Settings
from core.states import JobState, Reason
from dicom_node.scu import Outgoing
from records.database import Database, open_database
from records.instances import record_received
from records.jobs import ClaimedJob, claim_jobs
from records.migrate import migrate
from records.queries import EcgSummary
from records.tables import Instance, Job, Report
from tests.intake.pdf_objects import build_pdf, encapsulate_pdf
from tests.intake.waveform_objects import Group, beats, build_waveform
from tests.node import Node, running_node
from tests.records.samples import received
from worker.related import Turn, find_turn

WAVEFORM, PDF = "1.2.840.10008.5.1.4.1.1.9.1.1", "1.2.840.10008.5.1.4.1.1.104.1"
TIME = "20260102030405"


@pytest.fixture
def records(settings: Settings) -> Iterator[Database]:
    database = open_database(settings)
    migrate(database)
    yield database
    database.close()


@pytest.fixture
def rule(settings: Settings) -> Settings:
    return settings.model_copy(update={"related_objects": "waveform_only", "waveform_wait_s": 60.0})


def _receive(records: Database, sop_class: str, when: str = TIME) -> int:
    one = received(sop_class_uid=sop_class, acquisition_datetime=when, patient_id="P1")
    return record_received(records, one).ecg_id


def _claimed(records: Database, ecg_id: int) -> ClaimedJob:
    jobs = claim_jobs(records, "test", 8, 30.0, 3)
    return next(job for job in jobs if job.ecg_id == ecg_id)


def _end(records: Database, ecg_id: int, state: JobState, reason: str | None = None) -> None:
    with records.writing() as session:
        values = {"state": state.value, "reason": reason, "lease_until": None}
        session.execute(update(Job).where(Job.ecg_id == ecg_id).values(**values))


def _receive_long_ago(records: Database, ecg_id: int) -> None:
    with records.writing() as session:
        instance = session.get_one(Instance, ecg_id)
        instance.received_at = instance.received_at.replace(year=2000)


@pytest.mark.parametrize(
    ("state", "reason", "turn"),
    [
        (JobState.DONE, None, Turn.SUPERSEDED),
        (JobState.NOT_DIAGNOSTIC, Reason.UNCERTAIN.value, Turn.SUPERSEDED),
        (JobState.NOT_DIAGNOSTIC, f"{Reason.DAMAGED.value}: cut off", Turn.JUDGE),
        (JobState.FAILED, "the worker died", Turn.JUDGE),
        (JobState.QUEUED, None, Turn.WAIT),
    ],
    ids=str,
)
def test_a_pdf_gives_way_to_a_waveform_that_was_judged(
    state: JobState, reason: str | None, turn: Turn, records: Database, rule: Settings
) -> None:
    waveform = _receive(records, WAVEFORM)
    pdf = _receive(records, PDF)
    job = _claimed(records, pdf)
    _end(records, waveform, state, reason)
    _receive_long_ago(records, pdf)
    assert find_turn(_again(records, job), rule, records) is turn


def _again(records: Database, job: ClaimedJob) -> ClaimedJob:
    """The same claim with the row's own time of reception."""
    with records.reading() as session:
        when = session.scalars(select(Instance.received_at).where(Instance.id == job.ecg_id)).one()
    return ClaimedJob(**{**{name: getattr(job, name) for name in job.__slots__}, "received_at": when})


def test_a_pdf_waits_for_its_waveform_for_a_while(records: Database, rule: Settings) -> None:
    job = _claimed(records, _receive(records, PDF))
    assert find_turn(job, rule, records) is Turn.WAIT
    _receive_long_ago(records, job.ecg_id)
    assert find_turn(_again(records, job), rule, records) is Turn.JUDGE


def test_where_each_is_answered_nothing_waits(records: Database, settings: Settings) -> None:
    _receive(records, WAVEFORM)
    assert find_turn(_claimed(records, _receive(records, PDF)), settings, records) is Turn.JUDGE


def test_a_pdf_that_says_no_time_is_judged_at_once(records: Database, rule: Settings) -> None:
    assert find_turn(_claimed(records, _receive(records, PDF, when="")), rule, records) is Turn.JUDGE


def test_a_waveform_gives_way_to_nothing(records: Database, rule: Settings) -> None:
    first = _receive(records, WAVEFORM)
    second = _claimed(records, _receive(records, WAVEFORM))
    _end(records, first, JobState.DONE)
    assert find_turn(second, rule, records) is Turn.JUDGE


def outgoing(dataset: Dataset, folder: Path, study: Dataset | None = None) -> Outgoing:
    """An object of a study and time; of the same as another's where one is given."""
    dataset.AcquisitionDateTime = TIME
    if study is not None:
        dataset.StudyInstanceUID = study.StudyInstanceUID
    path = folder / f"{dataset.SOPInstanceUID}.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return Outgoing(dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.file_meta.TransferSyntaxUID, path=path)


def _reports(node: Node, summary: EcgSummary) -> int:
    with node.database.reading() as session:
        return len(session.scalars(select(Report).where(Report.ecg_id == summary.ecg_id)).all())


def test_with_waveform_only_a_pdf_that_came_first_waits_and_ends_as_superseded(tmp_path: Path) -> None:
    waveform = build_waveform(Group(beats()), sop_class=WAVEFORM)
    pdf = encapsulate_pdf(build_pdf())
    lone = encapsulate_pdf(build_pdf())
    with running_node(
        tmp_path / "node", "work", "listen", related_objects="waveform_only", waveform_wait_s=5.0
    ) as node:
        node.push([outgoing(pdf, tmp_path, waveform), outgoing(lone, tmp_path)])
        node.push([outgoing(waveform, tmp_path)])
        judged, gone = node.wait_ended(waveform.SOPInstanceUID), node.wait_ended(pdf.SOPInstanceUID)
        assert (gone.state, gone.reason) == (
            JobState.NOT_DIAGNOSTIC,
            "superseded: the waveform of this ECG is judged in its place",
        )
        assert (_reports(node, gone), _reports(node, judged) > 0) == (0, True)
        alone = node.wait_ended(lone.SOPInstanceUID)
        assert (alone.state, alone.reason) == (JobState.NOT_DIAGNOSTIC, Reason.UNREADABLE)
        assert _reports(node, alone) == 1
