"""A model judges in shadow, is released under a running worker and rolled back; the past is judged again."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from pydicom import dcmread
from sqlalchemy import select

from core.states import EventKind, JobState
from core.values import LABELS, Label
from dicom_node.pacs import ThrowAwayPacs
from model.card import shipped_model_dir
from model.store import StoredModel, read_model
from records.clock import database_time
from records.instances import queue_job
from records.models import find_chosen, record_shadow
from records.queries import EcgSummary
from records.tables import Classification, Instance, Job, ShadowClassification, TrailEvent
from tests.e2e.ecgs import waveform
from tests.models import make_variant
from tests.node import Node, running_node
from tests.operations.command import Commands
from tests.servers import wait_until
from worker.models import choice_of

pytestmark = pytest.mark.timeout(900)
WAIT_S = 180.0
WHY = ("--why", "test")


@dataclass
class House:
    """A node with a worker, its commands, what its PACS holds, its first answer, and a model saying `said` of all."""

    node: Node
    command: Commands
    held: Path
    shipped: StoredModel
    first: EcgSummary
    other: StoredModel
    said: Label

    def answer(self) -> EcgSummary:
        return answer_of(self.node)

    def models_of(self, ecg: EcgSummary) -> list[tuple[str, str | None]]:
        """Version and label of each answer to an ECG, oldest first."""
        with self.node.database.reading() as session:
            query = select(Classification).where(Classification.ecg_id == ecg.ecg_id).order_by(Classification.id)
            return [(row.model["version"], row.label) for row in session.scalars(query)]

    def shadows_of(self, ecg: EcgSummary) -> list[ShadowClassification]:
        with self.node.database.reading() as session:
            query = select(ShadowClassification).where(ShadowClassification.ecg_id == ecg.ecg_id)
            return list(session.scalars(query))

    def uids(self) -> set[str]:
        return {path.stem for path in self.held.glob("*.dcm")}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("models")
    (folder / "models").mkdir()
    scp = ThrowAwayPacs(folder / "pacs")
    there = {"host": "127.0.0.1", "port": scp.start(), "ae_title": "PACS", "sr_class": "comprehensive"}
    given: dict[str, object] = {"models_dir": str(folder / "models"), "destinations": {"there": there}}
    with running_node(folder / "node", "send", "work", "listen", **given) as node:
        command = Commands(data_dir=str(folder / "node"), **given)
        first = answer_of(node)
        said = next(label for label in LABELS if label != first.labels[0])
        other = make_variant(folder / "models", "9.0.0", bias=tuple(20.0 * (label == said) for label in LABELS))
        yield House(node, command, folder / "pacs", read_model(shipped_model_dir()), first, other, said)
    scp.stop()


def answer_of(node: Node) -> EcgSummary:
    """Push an ECG and wait until its reports are delivered."""
    ecg = waveform()
    (outcome,) = node.push([ecg])
    assert outcome.status == 0x0000
    return node.wait_delivered(ecg.sop_instance_uid, WAIT_S)


def test_models_are_exchanged_and_the_past_is_judged_again(house: House) -> None:
    worker = house.node.processes["work"].pid
    first = house.first
    assert house.models_of(first) == [(house.shipped.card.version, first.labels[0])]

    # A shadow that cannot be loaded hurts nothing
    missing = replace(choice_of(house.other), weights_sha256="0" * 64, card_sha256="0" * 64)
    record_shadow(house.node.database, missing, "test", "its folder is not there")
    hurt = house.answer()
    assert house.models_of(hurt) == house.models_of(first)
    assert "shadow_not_loaded" in house.node.log("work")

    # In shadow: recorded beside the answer, never reported
    record_shadow(house.node.database, choice_of(house.other), "test", "is it better?")
    second = house.answer()
    (beside,) = wait_until(lambda: house.shadows_of(second), WAIT_S, "the shadow has judged")
    assert (beside.label, beside.model["version"]) == (house.said, "9.0.0")
    assert house.models_of(second) == house.models_of(first)
    assert house.uids() == {uid for one in (first, hurt, second) for _kind, uid, _state in one.reports}
    compared = house.command.json("model", "compare")
    assert (compared["compared"], compared["same"], compared["broke"]) == (1, 0, 0)
    (difference,) = compared["differences"]
    assert difference["sop_instance_uid"] == second.sop_instance_uid
    assert (difference["in_service"], difference["in_shadow"]) == (first.labels[0], house.said)

    # Released: the worker takes it without a restart, with its thresholds
    status, said = house.command("model", "release", house.other.card.weights_sha256[:12], *WHY)
    assert status == 0, said
    third = house.answer()
    assert house.models_of(third) == [("9.0.0", house.said)]
    assert third.probabilities[0] is not None
    assert house.node.processes["work"].poll() is None
    assert house.node.processes["work"].pid == worker
    assert house.command("model", "release", house.other.card.weights_sha256[:12], *WHY)[0] == 1

    assert house.shadows_of(third) == []
    assert house.command("model", "shadow", "off", *WHY)[0] == 0

    # The past, judged again: beside the old answer, naming it, delivered once
    before = {path.stem: path.read_bytes() for path in house.held.glob("*.dcm")}
    assert house.command.json("reanalyse", "--uid", first.sop_instance_uid, *WHY, "--dry-run")["queued"] == 1
    assert house.command.json("reanalyse", "--uid", first.sop_instance_uid, *WHY)["queued"] == 1
    again = _wait_reports(house, first, 4)
    assert house.models_of(first) == [
        (house.shipped.card.version, first.labels[0]),
        ("9.0.0", house.said),
    ]
    assert {stem: (house.held / f"{stem}.dcm").read_bytes() for stem in before} == before
    (old,) = [uid for kind, uid, _state in first.reports if kind == "sr"]
    (new,) = [uid for kind, uid, _state in again.reports if kind == "sr"]
    sr = dcmread(house.held / f"{new}.dcm")
    (study,) = sr.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    (named,) = series.ReferencedSOPSequence
    assert (named.ReferencedSOPInstanceUID, study.StudyInstanceUID) == (old, sr.StudyInstanceUID)
    repeated = house.command.json("reanalyse", "--uid", first.sop_instance_uid, *WHY)
    assert (repeated["queued"], repeated["answered_by_it"]) == (0, 1)

    # Back: the earlier model serves again, and a re-analysis that waited meanwhile repeats nothing
    status, said = house.command("model", "rollback", *WHY)
    assert (status, house.shipped.card.weights_sha256[:12] in said) == (0, True), said
    assert house.models_of(house.answer()) == house.models_of(first)[:1]
    with house.node.database.writing() as session:
        row = session.get_one(Instance, first.ecg_id)
        job = queue_job(session, row, database_time(session), "reanalysis:late", 100, stat=False)
    ended = wait_until(lambda: _ended(house, job), WAIT_S, "the outdated job has ended")
    assert (ended.state, ended.reason.split(":")[0]) == (JobState.FAILED, "superseded")
    assert len(house.models_of(first)) == 2
    assert house.command("model", "rollback", *WHY)[0] == 1
    listed = house.command.json("model", "ls")
    assert [one["action"] for one in listed["history"] if one["role"] == "service"] == ["start", "release", "rollback"]
    assert [one["version"] for one in listed["models"] if "in service" in one["is"]] == [house.shipped.card.version]
    assert {EventKind.MODEL_RELEASED, EventKind.MODEL_ROLLED_BACK, EventKind.REANALYSIS_REQUESTED} <= _kinds(house)
    assert find_chosen(house.node.database).shadow is None


def _wait_reports(house: House, ecg: EcgSummary, count: int) -> EcgSummary:
    """Wait until the latest analysis of an ECG is delivered and the PACS holds so many reports of it."""

    def there() -> EcgSummary | None:
        found = house.node.summary(ecg.sop_instance_uid)
        if found is None or not found.delivered or found.reports == ecg.reports:
            return None
        mine = {uid for one in (ecg, found) for _kind, uid, _state in one.reports}
        return found if len(mine & house.uids()) == count else None

    found: EcgSummary = wait_until(there, WAIT_S, "the new reports are delivered")
    return found


def _ended(house: House, job_id: int) -> Job | None:
    with house.node.database.reading() as session:
        row = session.get_one(Job, job_id)
        return row if row.state == JobState.FAILED else None


def _kinds(house: House) -> set[str]:
    with house.node.database.reading() as session:
        return set(session.scalars(select(TrailEvent.kind)))
