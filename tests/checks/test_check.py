"""Each thing that must hold is seen by the checker when it does not."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file
from sqlalchemy import select, text, update

from cli.check import look_at_all
from core.settings import Settings
from core.states import ReportKind
from core.wakeup import Wakeup
from dicom_node.intake import Incoming, Intake
from dicom_node.wrap import outgoing_of
from records.database import Database, open_database
from records.jobs import claim_jobs
from records.migrate import migrate
from records.results import Route, record_answer
from records.tables import Base, Classification, Delivery, Job, Report
from tests.conftest import ROOT
from tests.faults.objects import data_set_bytes
from tests.records.samples import answer
from worker.files import save_result
from worker.sweep import ResultSweep

LONG_AGO = 1_600_000_000


@pytest.fixture
def kept(make_settings: Callable[..., Settings], database_url: str) -> tuple[Settings, Database, Path]:
    """A node that took one ECG in and answered it."""
    settings = make_settings(database_url=database_url)
    database = open_database(settings)
    migrate(database)
    ecg = outgoing_of(Path(str(get_testdata_file("waveform_ecg.dcm"))))
    incoming = Incoming(
        ecg.sop_class_uid, ecg.sop_instance_uid, ecg.sop_class_uid, ecg.transfer_syntax_uid, data_set_bytes(ecg),
        False, "CART", "ECGNODE", "127.0.0.1", "a1",
    )  # fmt: skip
    Intake(settings, database, Wakeup(settings)).take(incoming)
    (path,) = (settings.data_dir / "received").rglob("*.dcm")
    return settings, database, path


def _broken(settings: Settings, database: Database, limit_s: float = 600) -> dict[str, tuple[str, ...]]:
    return {one.what: one.findings for one in look_at_all(settings, database, limit_s) if one.findings}


def _answered(settings: Settings, database: Database) -> None:
    (job,) = claim_jobs(database, "w", 1, 30, 3)
    made = answer()
    for report in made.reports:
        object.__setattr__(report, "sha256", save_result(settings, report.sha256.encode()))
    record_answer(database, job, made, [Route("main", frozenset(ReportKind), "enhanced")])


def test_a_node_that_is_well_has_no_findings(kept: tuple[Settings, Database, Path]) -> None:
    settings, database, _path = kept
    assert _broken(settings, database) == {}
    _answered(settings, database)
    assert _broken(settings, database) == {}


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda path: path.unlink(), "is gone"),
        (lambda path: path.write_bytes(path.read_bytes()[:-2]), "bytes, not"),
        (lambda path: path.write_bytes(path.read_bytes()[:-2] + b"zz"), "was changed"),
    ],
)
def test_a_file_that_is_not_as_it_came_is_found(
    kept: tuple[Settings, Database, Path], break_it: Callable[[Path], None], said: str
) -> None:
    settings, database, path = kept
    break_it(path)
    (finding,) = _broken(settings, database)["every received ECG has its file, as it came"]
    assert said in finding


def test_what_no_row_names_is_found_once_it_is_old(kept: tuple[Settings, Database, Path]) -> None:
    settings, database, path = kept
    left = [path.with_name("x.dcm"), path.with_name("x.part"), settings.data_dir / "y.part"]
    left.append(settings.data_dir / "results" / "aa" / "aa11")
    left[-1].parent.mkdir(parents=True)
    for one in left:
        one.write_bytes(b"?")
    assert _broken(settings, database) == {}
    for one in left:
        os.utime(one, (LONG_AGO, LONG_AGO))
    assert len(_broken(settings, database)["nothing lies on disk that no row names"]) == len(left)


@pytest.mark.parametrize(
    ("statement", "what", "count"),
    [
        ("UPDATE job SET created_at = '2000-01-01 00:00:00'", "every accepted ECG is answered in time", 1),
        ("DELETE FROM job", "every accepted ECG is answered in time", 1),
        (
            "UPDATE job SET state = 'running', lease_until = '2000-01-01 00:00:00', fence = 1, attempt = 1",
            "no job is stuck with a worker that is gone",
            1,
        ),
        ("UPDATE job SET state = 'done'", "every ended job has its answer", 1),
        ("UPDATE job SET state = 'done'", "each arrival and each answer stands in the trail once", 1),
        ("UPDATE instance SET id = 77", "each arrival and each answer stands in the trail once", 1),
        ("UPDATE trail_head SET seq = 9", "the trail is whole", 1),
    ],
)
def test_rows_that_do_not_agree_are_found(
    kept: tuple[Settings, Database, Path], statement: str, what: str, count: int
) -> None:
    settings, database, _path = kept
    with database.engine.connect() as connection:
        if "instance" in statement:
            connection.execute(text("DELETE FROM job"))
        connection.execute(text(statement))
        connection.commit()
    assert len(_broken(settings, database)[what]) == count


def test_a_second_sr_by_the_same_model_is_found(kept: tuple[Settings, Database, Path]) -> None:
    settings, database, _path = kept
    _answered(settings, database)
    with database.writing() as session:
        session.execute(update(Delivery).values(state="sent"))
    assert "no ECG was answered twice" not in _broken(settings, database)
    with database.writing() as session:
        (job,) = session.scalars(select(Job))
        (said,) = session.scalars(select(Classification))
        (sent,) = session.scalars(select(Delivery).where(Delivery.kind == "sr"))
        report = session.get_one(Report, sent.report_id)
        session.add(_copy(job, id=2, request="again"))
        session.flush()
        session.add_all([_copy(said, id=90, job_id=2), _copy(report, id=90, job_id=2, sop_instance_uid="9.9")])
        session.flush()
        session.add(_copy(sent, id=90, job_id=2, report_id=90))
    assert len(_broken(settings, database)["no ECG was answered twice"]) == 1


def _copy(row: Base, **changes: object) -> Base:
    values = {column.name: getattr(row, column.name) for column in row.__table__.columns}
    return type(row)(**(values | changes))


def test_the_command_has_an_exit_code_a_table_and_json(kept: tuple[Settings, Database, Path]) -> None:
    settings, _database, path = kept
    environment = {"ECG_NODE_DATA_DIR": str(settings.data_dir), "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    environment["ECG_NODE_DATABASE_URL"] = settings.database_url.get_secret_value()
    command = [sys.executable, "-m", "cli", "check"]
    before = sorted(settings.data_dir.rglob("*"))
    good = subprocess.run(command, env={**os.environ, **environment}, cwd=ROOT, capture_output=True, text=True)
    assert (good.returncode, good.stdout.count("holds")) == (0, 10)
    assert sorted(settings.data_dir.rglob("*.*")) == sorted(one for one in before if "." in one.name)
    path.unlink()
    bad = subprocess.run(
        [*command, "--json"], env={**os.environ, **environment}, cwd=ROOT, capture_output=True, text=True
    )
    assert bad.returncode == 1
    assert sum(len(one["findings"]) for one in json.loads(bad.stdout)) == 1


def test_results_of_a_worker_that_died_are_swept_and_those_of_a_claim_are_not(
    kept: tuple[Settings, Database, Path],
) -> None:
    settings, database, _path = kept
    orphan = settings.data_dir / "results" / "ab" / "ab12"
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"?")
    hour_ago = time.time() - 3600
    (job,) = claim_jobs(database, "w", 1, 30, 3)
    with database.engine.connect() as connection:
        connection.execute(text("UPDATE job SET started_at = '2000-01-01 00:00:00'"))
        connection.commit()
    os.utime(orphan, (hour_ago, hour_ago))
    sweep = ResultSweep(settings.data_dir, database)
    sweep()
    assert orphan.exists()
    named = save_result(settings, b"named")
    made = answer()
    for report in made.reports:
        object.__setattr__(report, "sha256", named)
    record_answer(database, job, made, [])
    path = settings.data_dir / "results" / named[:2] / named
    os.utime(path, (hour_ago, hour_ago))
    sweep()
    assert (orphan.exists(), path.exists()) == (False, True)
    assert list((settings.data_dir / "results").rglob("*.part")) == []
