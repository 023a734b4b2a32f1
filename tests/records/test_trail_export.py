"""The trail for other programs: searched, and written so that each of its formats can be read back."""

import base64
import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from lxml import etree

from core.settings import Settings
from core.states import EventKind
from dicom_node.audit_messages import audit_messages
from records.audit_search import Entry, Search, export_trail, search_trail
from records.database import Database
from records.trail import record_event
from records.trail_export import csv_lines, json_lines
from tests.cli_runs import run_cli

SCHEMA = Path(__file__).with_name("audit_message.rng")
HOSTILE = "=cmd|' /C calc'!A0\x00\x0b\ufffe<script>&\"'\u202e\r\n"


@pytest.fixture
def entries(database: Database) -> list[Entry]:
    for kind in EventKind:
        record_event(database, kind, actor=f"{kind.value} actor", peer_address="127.0.0.1", sop_instance_uid="1.2.3")
    record_event(database, EventKind.LOGIN_FAILED, actor=HOSTILE.replace("\0", ""), note=HOSTILE)
    return list(export_trail(database, Search()))


def test_every_kind_of_event_is_an_audit_message_of_the_schema(entries: list[Entry]) -> None:
    """Seen to fail with a kind's action left out, a plain text as a detail's value, and a control sign kept."""
    document = etree.fromstring("".join(audit_messages(entries, "site A")).encode())
    schema = etree.RelaxNG(etree.parse(SCHEMA))
    assert schema.validate(document), schema.error_log
    assert len(document) == len(entries) == len(EventKind) + 1


def test_a_message_says_who_what_when_and_with_which_outcome(entries: list[Entry]) -> None:
    document = etree.fromstring("".join(audit_messages(entries, "site A")).encode())
    by_kind = {one.xpath("string(EventIdentification/EventTypeCode[last()]/@csd-code)"): one for one in document[:-1]}
    received, login = by_kind["instance_received"], by_kind["login_failed"]
    assert received.xpath("string(EventIdentification/EventID/@csd-code)") == "110104"
    assert received.xpath("string(ActiveParticipant[1]/@UserID)") == "instance_received actor"
    assert received.xpath("string(ActiveParticipant[1]/@NetworkAccessPointID)") == "127.0.0.1"
    assert login.xpath("string(EventIdentification/EventID/@csd-code)") == "110114"
    assert login.xpath("string(EventIdentification/@EventOutcomeIndicator)") == "4"
    details = {one.get("type"): one.get("value") for one in received.iter("ParticipantObjectDetail")}
    assert base64.b64decode(details["sop_instance_uid"]).decode() == "1.2.3"


def test_csv_is_read_back_and_runs_nothing_in_a_spreadsheet(entries: list[Entry]) -> None:
    rows = list(csv.DictReader(io.StringIO("".join(csv_lines(entries)))))
    assert [int(row["seq"]) for row in rows] == [entry.seq for entry in entries]
    assert rows[-1]["actor"].startswith("'=cmd")
    assert json.loads(rows[-1]["details"])["note"] == HOSTILE


def test_json_lines_are_read_back(entries: list[Entry]) -> None:
    rows = [json.loads(line) for line in "".join(json_lines(entries)).splitlines()]
    assert [row["hash"] for row in rows] == [entry.hash for entry in entries]
    assert rows[-1]["details"]["note"] == HOSTILE
    assert all(datetime.fromisoformat(row["at"]).tzinfo for row in rows)


def test_a_search_keeps_to_kind_actor_and_time(database: Database, entries: list[Entry]) -> None:
    assert [one.kind for one in search_trail(database, Search(kinds=[EventKind.LOGIN])).entries] == ["login"]
    assert [one.kind for one in search_trail(database, Search(actor="logout actor")).entries] == ["logout"]
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert search_trail(database, Search(since=later)).entries == []
    assert search_trail(database, Search(until=later), limit=3).older == entries[-3].seq


@pytest.mark.parametrize("form", ["csv", "jsonl", "xml"])
def test_the_command_writes_a_file_for_its_owner_alone_and_is_on_record(
    form: str, make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    from records.database import open_database
    from records.migrate import migrate

    settings = make_settings()
    database = open_database(settings)
    migrate(database)
    record_event(database, EventKind.LOGIN, actor="anna")
    to = tmp_path / "trail.out"
    done = run_cli(["audit", "export", str(to), "--format", form], data_dir=settings.data_dir)
    assert done.returncode == 0, done.stderr
    assert "anna" in to.read_text(encoding="utf-8")
    assert to.stat().st_mode & 0o777 == 0o600
    assert [one.kind for one in search_trail(database, Search(kinds=[EventKind.TRAIL_EXPORTED])).entries]
    assert run_cli(["audit", "export", str(to), "--format", form], data_dir=settings.data_dir).returncode != 0
    said = run_cli(["audit", "search", "--kind", "login", "--json"], data_dir=settings.data_dir)
    assert [json.loads(line)["actor"] for line in said.stdout.splitlines()] == ["anna"]
    database.close()
