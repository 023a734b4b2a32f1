"""A backup taken while the node runs comes back whole in an empty place, and what is damaged or full is refused."""

import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from sqlalchemy import func, select

from core.settings import Settings
from core.states import AlertKind, EventKind, ReportKind
from dicom_node.spool import Spool
from dicom_node.wrap import outgoing_of
from records.alerts import AlertRules, Channel, raise_alerts
from records.audit import note_head, verify_trail
from records.commitment_requests import RequestOfCaller, record_request
from records.database import Database, open_database
from records.deliveries import claim_destination, list_due
from records.instances import record_received
from records.jobs import claim_jobs
from records.migrate import migrate
from records.models import ModelChoice, record_release
from records.processes import record_started
from records.results import Route, record_answer
from records.tables import Base, Instance, Process, TrailEvent
from tests.conftest import ROOT, need_tool
from tests.node import Node, as_environment, running_node
from tests.operations.command import Commands
from tests.records.samples import answer, received
from tests.servers import PostgreSql, wait_until
from worker.files import result_path, save_result

ECG = Path(str(get_testdata_file("waveform_ecg.dcm")))
ON_SQLITE = pytest.mark.parametrize("database_url", [""])  # what one database shows, the other shows, too
ROUTE = Route("pacs", frozenset(ReportKind), "comprehensive")


def _receive(settings: Settings, database: Database) -> int:
    """An ECG with a real file, as the listener keeps it."""
    outgoing = outgoing_of(ECG)
    data_set = ECG.read_bytes()[-2000:] + os.urandom(8)
    spooled = Spool(settings).save(data_set, outgoing.sop_class_uid, "1.2.3", outgoing.transfer_syntax_uid)
    fields = {"path": spooled.path, "file_sha256": spooled.file_sha256, "size_bytes": spooled.size_bytes}
    return record_received(database, replace(received(), content_sha256=spooled.content_sha256, **fields)).ecg_id


def _answer(settings: Settings, database: Database) -> None:
    (job,) = claim_jobs(database, "w", 1, 30, 3)
    base = answer()
    reports = [replace(one, sha256=save_result(settings, os.urandom(50))) for one in base.reports]
    frames = [replace(base.frames[0], picture_sha256=save_result(settings, b"a picture of two ECGs"))]
    record_answer(database, job, replace(base, reports=reports, frames=frames), [ROUTE])


class Place:
    """A data folder and a database, and the commands on them."""

    def __init__(self, folder: Path, database_url: str, **given: object) -> None:
        all_given = {"data_dir": str(folder), "database_url": database_url, "demo": "true", **given}
        self.given = all_given
        self.settings = Settings(**all_given)  # type: ignore[arg-type]
        self.run = Commands(**all_given)


@pytest.fixture
def node(tmp_path: Path, database_url: str) -> Place:
    """A node with two ECGs that are answered and one that waits."""
    place = Place(tmp_path / "node", database_url)
    database = open_database(place.settings)
    migrate(database)
    for _ in range(2):
        _receive(place.settings, database)
        _answer(place.settings, database)
    _receive(place.settings, database)
    record_started(database, "work")
    note_head(database)
    database.close()
    return place


@pytest.fixture
def new_place(tmp_path: Path, database_url: str, request: pytest.FixtureRequest) -> Callable[..., Place]:
    """An empty data folder with an empty database of the same kind."""

    def make(name: str = "new", **given: object) -> Place:
        url = ""
        if database_url:
            server: PostgreSql = request.getfixturevalue("postgresql")
            url = server.make_database()
        return Place(tmp_path / name, url, **given)

    return make


def _rows(settings: Settings) -> dict[str, list[tuple[object, ...]]]:
    database = open_database(settings)
    with database.reading() as session:
        found = {
            name: [tuple(row) for row in session.execute(select(table).order_by(*table.primary_key.columns))]
            for name, table in Base.metadata.tables.items()
        }
    database.close()
    return found


def test_a_restored_node_has_every_row_and_file_and_goes_on(
    node: Place, new_place: Callable[..., Place], tmp_path: Path
) -> None:
    before = _rows(node.settings)
    taken = node.run.json("backup", tmp_path / "backups")
    assert (taken["ecgs"], taken["files"], taken["missing"]) == (3, 10, [])
    assert node.run("backup", tmp_path / "backups", "--verify")[0] == 0
    place = new_place()
    restored = place.run.json("restore", tmp_path / "backups")
    assert (restored["ecgs"], restored["files"]) == (3, 10)
    after = _rows(place.settings)
    assert [row[3] for row in after["trail"][len(before["trail"]) :]], "the restoration stands in the trail"
    for name in set(before) - {"trail", "trail_head", "process", "console_session"}:
        assert after[name] == before[name], name
    assert after["trail"][: len(before["trail"])] == before["trail"]
    assert after["process"] == []
    assert place.run("check", "--quick")[1].count("does not hold") == 0
    assert place.run("audit", "verify")[0] == 0
    _goes_on(place)


def _goes_on(place: Place) -> None:
    database = open_database(place.settings)
    before = _rows(place.settings)["instance"]
    _answer(place.settings, database)
    assert _receive(place.settings, database) > max(int(str(row[0])) for row in before)
    _answer(place.settings, database)
    turn = claim_destination(database, "pacs", "s", 30)
    assert turn is not None
    assert len(list_due(database, turn, 100)) == 8
    assert verify_trail(database).fault is None
    database.close()


@ON_SQLITE
def test_a_backup_stands_in_the_trail_of_both_nodes(
    node: Place, new_place: Callable[..., Place], tmp_path: Path
) -> None:
    taken = node.run.json("backup", tmp_path / "backups")
    place = new_place()
    place.run.json("restore", tmp_path / "backups")
    for one, kind in ((node, EventKind.BACKUP_TAKEN), (place, EventKind.BACKUP_RESTORED)):
        database = open_database(one.settings)
        with database.reading() as session:
            (event,) = session.scalars(select(TrailEvent).where(TrailEvent.kind == kind.value))
        assert json.loads(event.details)["backup"] == taken["name"]
        database.close()


@ON_SQLITE
def test_a_later_backup_copies_only_what_is_new_and_keep_removes_the_oldest(node: Place, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    first = node.run.json("backup", folder)
    assert first["copied"] == first["files"] == 10
    database = open_database(node.settings)
    _answer(node.settings, database)
    database.close()
    second = node.run.json("backup", folder, "--keep", 1)
    assert (second["files"], second["copied"]) == (13, 3)
    assert [path.name for path in folder.iterdir() if path.name[0] == "2"] == [second["name"]]
    assert len(list((folder / "objects").glob("*/*"))) == 13
    assert node.run("backup", folder, "--verify")[0] == 0


@ON_SQLITE
def test_a_released_model_comes_back_with_the_node(
    node: Place, new_place: Callable[..., Place], tmp_path: Path
) -> None:
    weights = node.settings.data_dir / "models" / ("f" * 64) / "weights.npz"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"weights")
    node.run.json("backup", tmp_path / "backups")
    place = new_place()
    place.run.json("restore", tmp_path / "backups")
    assert (place.settings.data_dir / "models" / ("f" * 64) / "weights.npz").read_bytes() == b"weights"


@ON_SQLITE
def test_nobody_else_may_read_a_backup(node: Place, tmp_path: Path) -> None:
    node.run.json("backup", tmp_path / "backups")
    for path in (tmp_path / "backups").rglob("*"):
        if path.name != "lock":
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


@pytest.mark.parametrize("what", ["objects/*/*", "2*/database.jsonl.gz", "2*/manifest.json", "2*/keys/trail.key"])
@pytest.mark.parametrize("how", ["changed", "gone"])
def test_a_damaged_backup_is_named_and_not_restored(
    what: str, how: str, tmp_path: Path, make_settings: Callable[..., Settings]
) -> None:
    place = Place(tmp_path / "node", "")
    database = open_database(place.settings)
    migrate(database)
    _receive(place.settings, database)
    database.close()
    folder = tmp_path / "backups"
    place.run.json("backup", folder)
    damaged = next(folder.glob(what))
    if how == "gone":
        damaged.unlink()
    else:
        content = damaged.read_bytes()
        damaged.write_bytes(content[:-5] + bytes([content[-5] ^ 1]) + content[-4:])
    assert place.run("backup", folder, "--verify")[0] == 1
    new = Place(tmp_path / "new", "")
    assert new.run("restore", folder)[0] == 1
    assert not (tmp_path / "new").exists()


def test_a_full_target_is_refused_and_left_as_it_is(
    node: Place, new_place: Callable[..., Place], tmp_path: Path
) -> None:
    node.run.json("backup", tmp_path / "backups")
    before = _rows(node.settings)
    status, said = node.run("restore", tmp_path / "backups")
    assert (status, "not empty" in said) == (1, True)
    same_database = Place(tmp_path / "elsewhere", node.settings.database_url.get_secret_value())
    if same_database.settings.database_url.get_secret_value():
        status, said = same_database.run("restore", tmp_path / "backups")
        assert (status, "not empty" in said) == (1, True)
    assert {name: rows for name, rows in _rows(node.settings).items() if name != "trail_head"} == {
        name: rows for name, rows in before.items() if name != "trail_head"
    }


def test_a_migrated_database_without_rows_counts_as_empty(tmp_path: Path, postgresql: PostgreSql) -> None:
    place = Place(tmp_path / "node", "")
    database = open_database(place.settings)
    migrate(database)
    _receive(place.settings, database)
    database.close()
    place.run.json("backup", tmp_path / "backups")
    url = postgresql.make_database()
    assert Place(tmp_path / "aside", url).run("migrate")[0] == 0
    assert Place(tmp_path / "new", url).run.json("restore", tmp_path / "backups")["ecgs"] == 1


@ON_SQLITE
def test_a_file_that_is_gone_or_changed_in_the_node_is_told_and_the_rest_is_backed_up(
    node: Place, new_place: Callable[..., Place], tmp_path: Path
) -> None:
    files = sorted((node.settings.data_dir / "received").rglob("*.dcm"))
    files[0].unlink()
    files[1].write_bytes(b"another")
    status, said = node.run("backup", tmp_path / "backups")
    assert (status, said.count("not in the backup")) == (1, 2)
    restored = new_place().run.json("restore", tmp_path / "backups")
    assert (restored["files"], len(restored["missing"])) == (8, 2)


def test_the_key_of_the_trail_must_be_the_one_of_the_node(tmp_path: Path) -> None:
    place = Place(tmp_path / "node", "", trail_key="a" * 40)
    database = open_database(place.settings)
    migrate(database)
    _receive(place.settings, database)
    database.close()
    place.run.json("backup", tmp_path / "backups")
    assert not list((tmp_path / "backups").rglob("trail.key"))
    for key in ({}, {"trail_key": "b" * 40}):
        status, said = Place(tmp_path / "new", "", **key).run("restore", tmp_path / "backups")
        assert (status, "trail_key" in said) == (1, True)
    assert Place(tmp_path / "new", "", trail_key="a" * 40).run("restore", tmp_path / "backups")[0] == 0


def test_a_node_moves_from_sqlite_to_postgresql_by_backup_and_restore(tmp_path: Path, postgresql: PostgreSql) -> None:
    place = Place(tmp_path / "node", "")
    database = open_database(place.settings)
    migrate(database)
    _receive(place.settings, database)
    _answer(place.settings, database)
    _receive(place.settings, database)
    database.close()
    place.run.json("backup", tmp_path / "backups")
    new = Place(tmp_path / "new", postgresql.make_database())
    new.run.json("restore", tmp_path / "backups")
    before, after = _rows(place.settings), _rows(new.settings)
    for name in ("instance", "job", "classification", "report", "delivery"):
        assert after[name] == before[name]
    _goes_on_after_move(new)


def _goes_on_after_move(place: Place) -> None:
    database = open_database(place.settings)
    _answer(place.settings, database)
    assert _receive(place.settings, database) == 3
    assert verify_trail(database).fault is None
    database.close()


def _killed_restore(place: Place, folder: Path, call: str, when: int) -> bool:
    """Restore, killed at the n-th call of this kind; False when it ended before."""
    command = [need_tool("strace"), "-f", "-qq", "-e", f"trace={call}", "-o", os.devnull]
    command += ["-e", f"inject={call}:signal=SIGKILL:when={when}", sys.executable, "-m", "cli", "restore", str(folder)]
    environment = {**os.environ, **as_environment(place.given), "PYTHONPATH": str(ROOT)}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"  # Python renames files of its own while it imports
    ended = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, timeout=120, check=False)
    return ended.returncode != 0


def _comes_back_after_a_kill(place: Place, folder: Path, call: str, when: int) -> bool:
    killed = _killed_restore(place, folder, call, when)
    if killed:
        assert place.run.json("restore", folder)["ecgs"] == 3
    assert place.run("check", "--quick")[1].count("does not hold") == 0
    assert place.run("restore", folder)[0] == 1, "a node that is whole is never overwritten"
    return killed


def test_a_restoration_that_was_killed_is_taken_up_again(
    node: Place, new_place: Callable[..., Place], tmp_path: Path
) -> None:
    node.run.json("backup", tmp_path / "backups")
    assert _comes_back_after_a_kill(new_place(), tmp_path / "backups", "rename", 5)


@pytest.mark.faults
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("call", ["rename", "fdatasync", "unlink"])
def test_a_restoration_that_is_killed_anywhere_is_taken_up_again(
    call: str, node: Place, new_place: Callable[..., Place], tmp_path: Path
) -> None:
    node.run.json("backup", tmp_path / "backups")
    when = 1
    while _comes_back_after_a_kill(new_place(f"new{when}"), tmp_path / "backups", call, when):
        when += 1


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Node]:
    with running_node(tmp_path / "node", "listen") as running:
        yield running


def test_what_comes_while_a_backup_is_taken_is_in_it_whole_or_not_at_all(listening: Node, tmp_path: Path) -> None:
    picture = tmp_path / "ecg.png"
    Image.new("L", (64, 64), 255).save(picture)
    stop = threading.Event()
    pushed: list[int | None] = []

    def push() -> None:
        while not stop.is_set():
            pushed.append(listening.push([outgoing_of(picture)])[0].status)

    pusher = threading.Thread(target=push)
    pusher.start()
    try:
        wait_until(lambda: len(pushed) > 3, 60, "ECGs come in")
        run = Commands(data_dir=listening.settings.data_dir)
        taken = run.json("backup", tmp_path / "backups")
    finally:
        stop.set()
        pusher.join()
    assert set(pushed) == {0}
    place = Place(tmp_path / "new", "")
    place.run.json("restore", tmp_path / "backups")
    database = open_database(place.settings)
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Instance)) == taken["ecgs"]
        assert session.scalars(select(Process)).all() == []
    database.close()
    assert 3 <= taken["ecgs"] <= len(pushed)
    assert place.run("check")[1].count("does not hold") == 0


@ON_SQLITE
def test_a_result_lies_where_its_row_says_after_a_restoration(
    node: Place, new_place: Callable[..., Place], tmp_path: Path
) -> None:
    node.run.json("backup", tmp_path / "backups")
    place = new_place()
    place.run.json("restore", tmp_path / "backups")
    for row in _rows(place.settings)["report"]:
        name = next(str(value) for value in row if isinstance(value, str) and len(value) == 64)
        assert result_path(place.settings, name).read_bytes() == result_path(node.settings, name).read_bytes()


def test_releases_commitments_and_alerts_come_back_too(
    node: Place, new_place: Callable[..., Place], tmp_path: Path
) -> None:
    database = open_database(node.settings)
    start, released = (ModelChoice(n * 64, n * 64, n, n, {"confidence": 0.5}) for n in "ab")
    record_release(database, released, start, "admin", "better")
    record_request(database, RequestOfCaller("1.2.3", [("1.2", "1.3")], "CART", "ECGNODE", "127.0.0.1"))
    raise_alerts(database, AlertRules(1e-6, 0.01, 1e-6, ("pacs",)), [Channel("hl7:ris", frozenset(AlertKind))])
    database.close()
    before = _rows(node.settings)
    node.run.json("backup", tmp_path / "backups")
    place = new_place()
    place.run.json("restore", tmp_path / "backups")
    after = _rows(place.settings)
    for name in ("model_release", "commitment_request", "alert", "notification"):
        assert before[name], name
        assert after[name] == before[name], name
