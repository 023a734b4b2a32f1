"""Each command says what it did, or what is wrong and what to do about it."""

import json
import re
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import text
from sqlalchemy.orm import Session

from cli.common import os_user
from core.settings import Settings
from core.states import EventKind
from core.wakeup import Wakeup
from dicom_node.listener import Listener
from dicom_node.pacs import ThrowAwayPacs
from records.audit import note_head
from records.database import Database, open_database
from records.migrate import migrate
from records.trail import record_event
from tests.cli.command import ecg_node
from tests.conftest import ROOT
from tests.e2e.ecgs import WAVEFORM
from tests.faults.commitment_peers import Cart
from tests.servers import free_port


@pytest.fixture
def house(make_settings: Callable[..., Settings]) -> Iterator[tuple[dict[str, object], Database]]:
    """A node that listens, with a PACS: its settings and its database."""
    settings = make_settings()
    database = open_database(settings)
    migrate(database)
    listener, pacs = Listener(settings, database, Wakeup(settings)), ThrowAwayPacs(settings.data_dir / "pacs")
    pacs_port = pacs.start()
    given: dict[str, object] = {
        "data_dir": settings.data_dir,
        "demo": "true",
        "listen_port": listener.start(),
        "disk_reserve_bytes": 0,
        "disk_reserve_fraction": 0,
        "destinations": {"there": {"host": "127.0.0.1", "port": pacs_port, "ae_title": "PACS"}},
    }
    yield given, database
    listener.stop()
    pacs.stop()
    database.close()


def test_doctor_finds_a_sound_node_well(house: tuple[dict[str, object], Database]) -> None:
    said = ecg_node("doctor", **house[0])
    assert said.returncode == 0, said.stdout
    found = re.findall(r"^(well|not well) +(\w+)", said.stdout, re.MULTILINE)
    assert {state for state, _what in found} == {"well"}
    assert {"port", "disk", "database", "broker", "model", "PACS"} <= {what for _state, what in found}


def test_doctor_tries_the_way_back_to_each_caller(house: tuple[dict[str, object], Database]) -> None:
    away, cart = free_port(), Cart()
    with cart.listening(with_roles=False):
        callers = {
            "cart": {"ae_titles": '["CART"]', "host": "127.0.0.1", "port": cart.port},
            "gone": {"ae_titles": '["GONE"]', "host": "127.0.0.1", "port": away},
            "pacs": {"ae_titles": '["PACS"]', **_address(house[0])},
            "silent": {"ae_titles": '["SILENT"]'},
        }
        said = ecg_node("doctor", **house[0], callers=callers)
    assert said.returncode == 1
    assert re.search(r"^well +callers +cart: CART@.* takes answers to storage commitment", said.stdout, re.MULTILINE)
    assert re.search(
        r"^not well +callers +gone: .*nobody answers there.*\n +-> correct host", said.stdout, re.MULTILINE
    )
    assert re.search(r"^not well +callers +pacs: .*takes no answers to storage commitment", said.stdout, re.MULTILINE)
    assert "SILENT" not in said.stdout


def _address(given: dict[str, object]) -> dict[str, object]:
    """Where the PACS of the house listens, which knows nothing of storage commitment."""
    (there,) = given["destinations"].values()  # type: ignore[attr-defined]
    return {"host": there["host"], "port": there["port"]}


def test_doctor_says_of_each_thing_that_is_wrong_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    said = ecg_node(
        "doctor",
        data_dir=tmp_path,
        listen_port=free_port(),
        disk_reserve_bytes=1 << 60,
        model_dir=tmp_path / "model",
        broker_url=f"redis://127.0.0.1:{free_port()}/0",
        destinations={"away": {"host": "127.0.0.1", "port": free_port(), "ae_title": "PACS"}},
    )
    assert said.returncode == 1
    for what, advice in {
        "disk": "free space or lower disk_reserve_bytes",
        "database": "`ecg-node migrate`",
        "broker": "start Redis or correct broker_url",
        "model": "set model_dir to the folder of a released model",
        "PACS": "is it running, and does it know ECGNODE?",
    }.items():
        assert re.search(rf"^not well +{what} .*(\n +-> .*)?{re.escape(advice)}", said.stdout, re.MULTILINE), (
            said.stdout
        )


def test_push_wraps_and_sends_and_status_counts(house: tuple[dict[str, object], Database], tmp_path: Path) -> None:
    given, _database = house
    for name in ("scan.jpg", "scan.png", "scan.pdf"):
        Image.new("RGB", (64, 48), (250, 240, 240)).save(tmp_path / name)
    files = [tmp_path / "scan.jpg", tmp_path / "scan.png", tmp_path / "scan.pdf", WAVEFORM]
    said = ecg_node("push", *files, **given)
    assert said.returncode == 0, said.stdout
    assert re.findall(r"^\S+/(\S+): accepted", said.stdout, re.MULTILINE) == [file.name for file in files]
    counted = json.loads(ecg_node("status", "--json", **given).stdout)["counts"]
    assert (counted["instances"], counted["jobs"]) == ({"accepted": 4}, {"queued": 4})
    assert re.search(r"jobs\W+queued\W+4", ecg_node("status", **given).stdout)


def test_push_says_what_it_cannot_send(house: tuple[dict[str, object], Database], tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear Sir")
    said = ecg_node("push", tmp_path / "letter.txt", **house[0])
    assert said.returncode == 1
    assert "letter.txt: neither DICOM nor PDF, JPEG, PNG or TIFF" in said.stdout


def test_push_says_when_nobody_listens() -> None:
    said = ecg_node("push", WAVEFORM, "--port", str(free_port()))
    assert said.returncode == 1
    assert "nobody answers there" in said.stdout


def test_a_database_without_schema_is_named_and_migrate_makes_it(tmp_path: Path) -> None:
    before = ecg_node("status", data_dir=tmp_path)
    assert before.returncode == 1
    assert "`ecg-node migrate`" in before.stdout
    assert "Traceback" not in before.stdout
    assert {ecg_node("migrate", data_dir=tmp_path).returncode for _ in range(2)} == {0}
    assert ecg_node("status", data_dir=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"listen_prot": 104}, "ECG_NODE_LISTEN_PROT: no such setting"),
        ({"listen_port": 70000}, "listen_port: "),
        ({"demo": "true", "listen_host": "0.0.0.0"}, "demo: open to every caller is possible on loopback only"),
        ({"destinations": {"pacs": {"host": "pacs", "port": 104}}}, "destinations.pacs.ae_title: "),
    ],
)
def test_a_setting_that_is_unknown_or_impossible_is_refused_by_name(
    settings: dict[str, object], named: str, tmp_path: Path
) -> None:
    said = ecg_node("listen", data_dir=tmp_path, **settings)
    assert said.returncode == 1
    assert named in said.stdout
    assert "Traceback" not in said.stdout


def test_a_toml_file_is_read_and_its_unknown_setting_refused(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_text("colour = 'red'\n")
    said = ecg_node("status", config=tmp_path / "node.toml")
    assert said.returncode == 1
    assert "colour: " in said.stdout


def test_audit_verify_is_good_until_an_entry_is_changed(house: tuple[dict[str, object], Database]) -> None:
    given, database = house
    for n in range(3):
        record_event(database, EventKind.LOGIN, actor=f"user{n}")
    note_head(database)
    assert ecg_node("audit", "verify", **given).returncode == 0
    with Session(database.engine) as session, session.begin():
        session.execute(text("DROP TRIGGER trail_no_update"))
        session.execute(text("UPDATE trail SET actor = 'somebody else' WHERE seq = 2"))
    said = ecg_node("audit", "verify", **given)
    assert said.returncode == 1
    assert "entry 2 was changed" in said.stdout
    found = ecg_node("audit", "search", "--kind", "trail_verified", "--json", **given).stdout
    broken, good = map(json.loads, found.splitlines())
    assert {one["actor"] for one in (broken, good)} == {os_user()}
    assert (good["details"]["entries"], good["details"]["fault"]) == (3, None)
    assert "entry 2 was changed" in broken["details"]["fault"]


def test_audit_verify_says_its_verdict_though_it_cannot_be_put_on_record(
    house: tuple[dict[str, object], Database],
) -> None:
    given, database = house
    record_event(database, EventKind.LOGIN, actor="anna")
    with closing(sqlite3.connect(str(database.engine.url.database), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        said = ecg_node("audit", "verify", **given, database_timeout_s=1)
    assert (said.returncode, "good" in said.stdout) == (0, True)
    assert "could not be put on record" in said.stdout


def test_make_help_lists_every_target() -> None:
    said = subprocess.run(["make", "-C", str(ROOT), "help"], check=True, capture_output=True, text=True, timeout=60)
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert [target for target in targets if not re.search(rf"^{target}\s", said.stdout, re.MULTILINE)] == []


def test_every_command_has_help() -> None:
    said = ecg_node("--help").stdout
    for command in ("run", "listen", "work", "send", "pacs", "push", "status", "migrate", "doctor", "demo", "audit"):
        assert re.search(rf"^\W*{command} +\w", said, re.MULTILINE), command
