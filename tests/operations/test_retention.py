"""What is answered, delivered and old may lose its files by the site's rule; nothing else ever does."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import select, update

from core.errors import Rejected
from core.settings import Settings
from core.states import DeliveryState, EventKind, ReportKind
from dicom_node.checks import check_files
from records.database import Database, open_database
from records.instances import queue_job, record_received
from records.jobs import claim_jobs, fail_job
from records.migrate import migrate
from records.results import Route, record_answer
from records.retention import Rule, list_expired, record_deleted
from records.tables import Delivery, Instance, Job, TrailEvent
from tests.conftest import ROOT, need_tool
from tests.node import as_environment
from tests.operations.command import Commands
from tests.records.samples import answer, received
from worker.files import result_path, save_result

OLD = datetime(2020, 1, 1, tzinfo=UTC)
ON_SQLITE = pytest.mark.parametrize("database_url", [""])  # what one database shows, the other shows, too
COMMITTED, SENT = DeliveryState.COMMITTED.value, DeliveryState.SENT.value


class Site:
    """A data folder with ECGs in any state, and commands on it."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self.given = {
            "data_dir": settings.data_dir,
            "database_url": settings.database_url.get_secret_value(),
            "retention_days": 30,
        }
        self.run = Commands(**self.given)

    def receive(self, age: datetime = OLD, **changes: object) -> int:
        content = os.urandom(64)
        one = received(**changes)
        path = f"received/2020/01/01/{one.sop_instance_uid}.{one.content_sha256[-6:]}.dcm"
        one = replace(one, path=path, file_sha256=sha256(content).hexdigest(), size_bytes=64)
        (self.settings.data_dir / path).parent.mkdir(parents=True, exist_ok=True)
        (self.settings.data_dir / path).write_bytes(content)
        os.utime(self.settings.data_dir / path, (OLD.timestamp(), OLD.timestamp()))
        ecg_id = record_received(self.database, one).ecg_id
        self._write(update(Instance).where(Instance.id == ecg_id).values(received_at=age))
        return ecg_id

    def answer(self, ecg_id: int, *states: str, age: datetime = OLD, sent: datetime = OLD, picture: bytes = b"") -> int:
        """Answer an ECG; its SR and heat map end in these states at one destination."""
        (job,) = claim_jobs(self.database, "w", 1, 30, 3)
        assert job.ecg_id == ecg_id
        base = answer()
        reports = [replace(one, sha256=self.save(os.urandom(20))) for one in base.reports]
        frames = [replace(base.frames[0], picture_sha256=self.save(picture or os.urandom(20)))]
        routes = [Route("pacs", frozenset(ReportKind), "comprehensive")] if states else []
        record_answer(self.database, job, replace(base, reports=reports, frames=frames), routes)
        self._write(update(Job).where(Job.id == job.job_id).values(ended_at=age))
        with self.database.writing() as session:
            rows = session.scalars(select(Delivery).where(Delivery.ecg_id == ecg_id).order_by(Delivery.id))
            for row, state in zip(rows, states, strict=True):
                row.state, row.created_at = state, OLD
                row.sent_at = row.ended_at = None if state == DeliveryState.PREPARED.value else sent
        return job.job_id

    def save(self, content: bytes) -> str:
        name = save_result(self.settings, content)
        long_ago = OLD.timestamp()
        os.utime(result_path(self.settings, name), (long_ago, long_ago))
        return name

    def _write(self, statement: object) -> None:
        with self.database.writing() as session:
            session.execute(statement)  # type: ignore[call-overload]

    def files(self) -> set[str]:
        folders = (self.settings.data_dir / "received", self.settings.data_dir / "results")
        return {path.name for folder in folders for path in folder.rglob("*") if path.is_file()}

    def deleted(self) -> set[int]:
        with self.database.reading() as session:
            return set(session.scalars(select(Instance.id).where(Instance.file_deleted_at.is_not(None))))


@pytest.fixture
def site(database: Database, make_settings: Callable[..., Settings], database_url: str) -> Site:
    return Site(make_settings(database_url=database_url, retention_days=30), database)


def test_nothing_is_deleted_before_it_is_asked_for_and_then_with_its_hash_in_the_trail(site: Site) -> None:
    ecg_id = site.receive()
    site.answer(ecg_id, COMMITTED, COMMITTED)
    before = site.files()
    planned = site.run.json("retention")
    assert (planned["ecgs"], planned["files"], planned["deleted"]) == (1, 5, False)
    assert (site.files(), site.deleted()) == (before, set())
    done = site.run.json("retention", "--delete")
    assert (done["ecgs"], done["files"], done["size_bytes"]) == (1, 5, planned["size_bytes"])
    assert (site.files(), site.deleted()) == (set(), {ecg_id})
    with site.database.reading() as session:
        row = session.get_one(Instance, ecg_id)
        (event,) = session.scalars(select(TrailEvent).where(TrailEvent.kind == EventKind.INSTANCE_DELETED.value))
    details = json.loads(event.details)
    assert (details["file_sha256"], details["rule"], details["days"]) == (row.file_sha256, "committed", 30)
    assert len(details["results"]) == 4
    assert site.run.json("retention", "--delete")["ecgs"] == 0
    assert _look(site) == [(), (), ()]


def test_what_is_unanswered_failed_undelivered_young_or_in_conflict_keeps_its_files(site: Site) -> None:
    now = datetime.now(UTC)
    for states in (("prepared", COMMITTED), ("failed", COMMITTED), (SENT, SENT), ("dropped", "dropped"), ()):
        site.answer(site.receive(), *states)
    site.answer(site.receive(age=now), COMMITTED, COMMITTED)
    site.answer(site.receive(), COMMITTED, COMMITTED, age=now - timedelta(days=29))
    site.answer(site.receive(), COMMITTED, COMMITTED, sent=now - timedelta(days=29))
    failed = site.receive()
    (job,) = claim_jobs(site.database, "w", 1, 30, 3)
    fail_job(site.database, job, "broken")
    site.receive(sop_instance_uid="1.2.9")
    site.receive(sop_instance_uid="1.2.9")
    before = site.files()
    done = site.run.json("retention", "--delete")
    assert (done["ecgs"], done["kept"], done["old_but_needed"]) == (0, 11, 10)
    assert (site.files(), site.deleted()) == (before, set())
    assert failed in {one.id for one in _all(site)}


def _all(site: Site) -> list[Instance]:
    with site.database.reading() as session:
        return list(session.scalars(select(Instance)))


@ON_SQLITE
@pytest.mark.parametrize(("rule", "goes"), [("committed", 1), ("sent", 3), ("answered", 4)])
def test_the_rule_says_what_delivered_means(rule: str, goes: int, site: Site) -> None:
    for states in ((COMMITTED, COMMITTED), (SENT, SENT), (SENT, "dropped"), (), ("failed", SENT)):
        site.answer(site.receive(), *states)
    assert Commands(**site.given, retention_rule=rule).json("retention", "--delete")["ecgs"] == goes


@ON_SQLITE
def test_a_picture_that_another_ecg_needs_stays(site: Site) -> None:
    site.answer(site.receive(), COMMITTED, COMMITTED, picture=b"the same bytes")
    site.answer(site.receive(), SENT, SENT, picture=b"the same bytes")
    assert site.run.json("retention", "--delete")["files"] == 4
    assert result_path(site.settings, sha256(b"the same bytes").hexdigest()).exists()
    assert _look(site) == [(), (), ()]


@ON_SQLITE
def test_a_copy_in_another_syntax_goes_with_its_first(site: Site) -> None:
    first = site.receive(sop_instance_uid="1.2.8", comparison_sha256="c" * 64, pixel_sha256="1" * 64)
    copy = site.receive(
        sop_instance_uid="1.2.8", comparison_sha256="c" * 64, pixel_sha256="2" * 64, transfer_syntax_uid="1.2.840.9"
    )
    site.answer(first, COMMITTED, COMMITTED)
    assert site.run.json("retention", "--delete")["ecgs"] == 2
    assert site.deleted() == {first, copy}


@ON_SQLITE
def test_what_is_deleted_cannot_be_analysed_again(site: Site) -> None:
    ecg_id = site.receive()
    site.answer(ecg_id, COMMITTED, COMMITTED)
    site.run("retention", "--delete")
    with pytest.raises(Rejected, match="deleted"), site.database.writing() as session:
        queue_job(session, session.get_one(Instance, ecg_id), datetime.now(UTC), "second")


def test_an_ecg_that_is_needed_again_since_the_plan_is_not_deleted(site: Site) -> None:
    ecg_id = site.receive()
    site.answer(ecg_id, COMMITTED, COMMITTED)
    rule = Rule(30, "committed")
    (planned,) = list_expired(site.database, rule, 0, 10)
    with site.database.writing() as session:
        queue_job(session, session.get_one(Instance, ecg_id), datetime.now(UTC), "second")
    assert record_deleted(site.database, rule, [planned.ecg_id], "me") == []


@ON_SQLITE
def test_without_a_term_nothing_is_ever_deleted(site: Site) -> None:
    site.answer(site.receive(), COMMITTED, COMMITTED)
    status, said = Commands(**(site.given | {"retention_days": 0}))("retention", "--delete")
    assert (status, "kept for ever" in said) == (1, True)
    assert site.deleted() == set()


def _killed_at(site: Site, call: str, when: int) -> bool:
    """Run the retention, killed as it makes this system call for the n-th time; False when it ended before."""
    command = [need_tool("strace"), "-f", "-qq", "-e", f"trace={call}", "-o", os.devnull]
    command += ["-e", f"inject={call}:signal=SIGKILL:when={when}", sys.executable, "-m", "cli", "retention", "--delete"]
    environment = {**os.environ, **as_environment(site.given), "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, timeout=120, check=False)
    return ended.returncode != 0


def _whole_after_a_kill(site: Site, call: str, when: int) -> tuple[bool, int]:
    """Whether the run was killed, and how many files that are on record as deleted it left behind."""
    site.answer(site.receive(), COMMITTED, COMMITTED)
    site.answer(site.receive(), SENT, SENT)
    killed = _killed_at(site, call, when)
    received, results, left = _look(site)
    assert (received, results) == ((), ()), "a row promises a file that is gone"
    site.run.json("retention", "--delete")
    assert _look(site) == [(), (), ()]
    assert list(Path(site.settings.data_dir / "retention").glob("*.json")) == []
    return killed, len(left)


def _look(site: Site) -> list[tuple[str, ...]]:
    return [one.findings for one in check_files(site.settings, site.database, quick=True)]


@pytest.fixture
def sqlite_site(make_settings: Callable[..., Settings]) -> Site:
    settings = make_settings(retention_days=30)
    database = open_database(settings)
    migrate(database)
    return Site(settings, database)


@pytest.mark.parametrize(("call", "when", "left"), [("unlink", 1, 5), ("unlink", 4, 2)])
def test_a_retention_that_was_killed_leaves_no_row_without_its_file_and_is_finished_by_the_next(
    call: str, when: int, left: int, sqlite_site: Site
) -> None:
    """Red when the file is removed before the row is committed, and when no note is written first."""
    assert _whole_after_a_kill(sqlite_site, call, when) == (True, left)


@pytest.mark.faults
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("call", ["unlink", "rename", "fsync", "fdatasync"])
def test_a_retention_that_is_killed_at_any_call_that_changes_the_disk_is_finished_by_the_next(
    call: str, sqlite_site: Site
) -> None:
    when = 1
    while _whole_after_a_kill(sqlite_site, call, when)[0]:
        when += 1
    assert when > 2
