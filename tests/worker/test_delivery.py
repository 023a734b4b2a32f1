"""What a PACS answers decides what becomes of a report; nothing that may pass is ever given up."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import text

from core.errors import StorageFull
from core.settings import Destination, Settings
from core.states import DeliveryState, EventKind
from dicom_node.wrap import outgoing_of
from records.database import Database, open_database
from records.deliveries import claim_destination, list_deliveries, list_due, retry_delivery
from records.destinations import list_destinations, pause_destination, resume_destination
from records.instances import record_received
from records.jobs import claim_jobs
from records.migrate import migrate
from records.results import Answer, Route, StoredReport, record_answer
from records.tables import TrailEvent
from tests.records.samples import answer, received
from tests.servers import free_port, wait_until
from tests.worker.scripted_pacs import ABORT, HEATMAP_CLASS, TAKE_AND_ABORT, ScriptedPacs
from worker.delivery import back_off_s, serve_destination
from worker.files import result_path, save_result

XRAY = "1.2.840.10008.5.1.4.1.1.1"


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(retry_first_s=0.001, retry_most_s=0.002, send_timeout_s=10.0)


@pytest.fixture
def records(settings: Settings) -> Iterator[Database]:
    opened = open_database(settings)
    migrate(opened)
    yield opened
    opened.close()


def _object(folder: Path) -> tuple[str, bytes]:
    """A small Part 10 file with UIDs of its own; a PACS does not look whether it is an SR."""
    path = folder / "small.png"
    Image.new("L", (8, 8)).save(path)
    outgoing = outgoing_of(path, patient_id="1", patient_name="A")
    assert outgoing.content is not None
    return outgoing.sop_instance_uid, outgoing.content


@pytest.fixture(scope="module")
def object_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return _object(tmp_path_factory.mktemp("object"))[1]


def _answered(settings: Settings, database: Database, content: bytes, reports: int = 1, **changes: object) -> None:
    """One ECG with so many reports, all of which go to `pacs`."""
    record_received(database, received(**changes))
    (job,) = claim_jobs(database, "w", 1, 30, 3)
    base = answer()
    stored = [
        StoredReport(
            kind=base.reports[0].kind,
            frame=n + 1,
            sr_class="",
            sop_class_uid=HEATMAP_CLASS,
            sop_instance_uid=f"{base.reports[0].sop_instance_uid}.{n}",
            series_instance_uid="2.25.8",
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            sha256=save_result(settings, content),
            size_bytes=len(content),
        )
        for n in range(reports)
    ]
    whole = Answer(
        base.state, None, base.frames, stored, base.model, base.code_version, base.recorded_at, base.timings_ms
    )
    record_answer(database, job, whole, [Route("pacs", frozenset({base.reports[0].kind}), "comprehensive")])


def _serve(pacs: Destination, settings: Settings, database: Database, rounds: int = 1) -> None:
    for _ in range(rounds):
        with database.writing() as session:
            for table in ("delivery", "destination"):
                session.execute(text(f"UPDATE {table} SET not_before = '2000-01-01 00:00:00.000000'"))
        serve_destination("pacs", pacs, settings, database)


def _states(database: Database) -> list[str]:
    return sorted(row.state for row in list_deliveries(database))


@pytest.mark.parametrize("status", [0x0000, 0x0111, 0xB000, 0xB006, 0xB007])
def test_an_answer_that_means_the_pacs_has_it_ends_the_delivery(
    status: int, settings: Settings, records: Database, object_bytes: bytes
) -> None:
    _answered(settings, records, object_bytes)
    with ScriptedPacs([status]).running() as pacs:
        _serve(pacs.destination(), settings, records, rounds=2)
        assert len(pacs.asked) == 1
    (row,) = list_deliveries(records)
    assert (row.state, row.last_status) == ("sent", status)


@pytest.mark.parametrize("status", [0xA900, 0xC000, 0xC123, 0x0122, 0x0124])
def test_an_answer_that_would_never_change_fails_the_report_and_spares_its_neighbours(
    status: int, settings: Settings, records: Database, object_bytes: bytes
) -> None:
    _answered(settings, records, object_bytes, reports=3)
    with ScriptedPacs([0x0000, status]).running() as pacs:
        _serve(pacs.destination(), settings, records, rounds=3)
        assert len(pacs.asked) == 3
    assert _states(records) == ["failed", "sent", "sent"]
    (failed,) = list_deliveries(records, DeliveryState.FAILED)
    assert failed.last_status == status


@pytest.mark.parametrize("sr_class", ["auto", "comprehensive"])
def test_a_class_that_the_pacs_does_not_take_fails_without_being_sent(
    sr_class: str, settings: Settings, records: Database, object_bytes: bytes
) -> None:
    _answered(settings, records, object_bytes)
    with ScriptedPacs(classes=[XRAY]).running() as pacs:
        _serve(pacs.destination(sr_class=sr_class), settings, records)
        assert pacs.asked == []
    (row,) = list_deliveries(records)
    assert row.state == "failed"
    assert "takes no Secondary Capture" in (row.last_error or "")


@pytest.mark.parametrize("word", [0xA700, 0xA701, 0x0110, ABORT])
def test_what_may_pass_is_tried_for_ever_and_leaves_with_the_same_bytes(
    word: int | str, settings: Settings, records: Database, object_bytes: bytes
) -> None:
    _answered(settings, records, object_bytes)
    tries = 2 * settings.max_attempts + 3
    with ScriptedPacs([word] * tries).running() as pacs:
        _serve(pacs.destination(), settings, records, rounds=tries)
        (row,) = list_deliveries(records)
        assert (row.state, row.attempt) == ("prepared", tries)
        _serve(pacs.destination(), settings, records)
        assert len(set(pacs.asked)) == 1
    (row,) = list_deliveries(records)
    assert (row.state, row.attempt) == ("sent", tries + 1)


def test_a_success_that_was_cut_off_before_its_answer_is_sent_again_as_the_same_instance(
    settings: Settings, records: Database, object_bytes: bytes
) -> None:
    _answered(settings, records, object_bytes)
    with ScriptedPacs([TAKE_AND_ABORT]).running() as pacs:
        _serve(pacs.destination(), settings, records, rounds=2)
        ((_uid, copies),) = pacs.held.items()
    assert len(copies) == 2
    assert copies[0] == copies[1]
    assert _states(records) == ["sent"]


def test_a_pacs_that_was_away_gets_one_probe_before_the_rest(
    settings: Settings, records: Database, object_bytes: bytes
) -> None:
    _answered(settings, records, object_bytes, reports=5)
    pacs = ScriptedPacs([ABORT])
    away = Destination(host="127.0.0.1", port=free_port(), ae_title="PACS", sr_class="comprehensive")
    _serve(away, settings, records)
    assert [one.failures for one in list_destinations(records)] == [1]
    with pacs.running():
        _serve(pacs.destination(), settings, records)
        assert len(pacs.asked) == 1, "the first probe, which is aborted"
        _serve(pacs.destination(), settings, records)
        assert len(pacs.asked) == 2, "the second probe, which is taken"
        _serve(pacs.destination(), settings, records)
        assert (len(pacs.asked), pacs.associations) == (6, 3)
    assert _states(records) == ["sent"] * 5


def test_a_report_that_breaks_every_association_does_not_hold_up_the_others(
    settings: Settings, records: Database, object_bytes: bytes, tmp_path: Path
) -> None:
    pacs = ScriptedPacs()
    poison, content = _object(tmp_path)
    pacs.poison = {poison}
    _answered(settings, records, content, stat=True)
    for _ in range(3):
        _answered(settings, records, object_bytes)
    with pacs.running():
        for _ in range(8):
            with records.writing() as session:
                session.execute(text("UPDATE destination SET not_before = '2000-01-01 00:00:00.000000'"))
            wait_until(lambda: not _waits(records), 10, "the postponed report is due again")
            serve_destination("pacs", pacs.destination(), settings, records)
    assert [(row.state, row.stat) for row in list_deliveries(records)] == [("sent", False)] * 3 + [("prepared", True)]


def _waits(database: Database) -> bool:
    now = datetime.now(UTC)
    return any(row.not_before > now for row in list_deliveries(database, DeliveryState.PREPARED))


def test_a_result_whose_file_is_gone_fails_alone(settings: Settings, records: Database, object_bytes: bytes) -> None:
    _answered(settings, records, object_bytes + b"\0\0")
    _answered(settings, records, object_bytes)
    (gone, *_) = reversed(list_deliveries(records))
    with records.reading() as session:
        name = session.execute(text("SELECT sha256 FROM report ORDER BY id LIMIT 1")).scalar_one()
    path: Path = result_path(settings, name)
    whole = path.read_bytes()
    path.unlink()
    with ScriptedPacs().running() as pacs:
        _serve(pacs.destination(), settings, records)
        assert len(pacs.asked) == 1
        (failed,) = list_deliveries(records, DeliveryState.FAILED)
        assert failed.id == gone.id
        path.write_bytes(whole[:-1] + b"x")
        assert retry_delivery(records, gone.id, "admin")
        _serve(pacs.destination(), settings, records)
        assert len(pacs.asked) == 1, "bytes that were changed never leave"
        path.write_bytes(whole)
        assert retry_delivery(records, gone.id, "admin")
        _serve(pacs.destination(), settings, records)
    assert _states(records) == ["sent", "sent"]


def test_deliveries_wait_while_the_shared_folder_is_not_mounted(
    settings: Settings, records: Database, object_bytes: bytes
) -> None:
    _answered(settings, records, object_bytes)
    results = settings.data_dir / "results"
    results.rename(settings.data_dir / "elsewhere")
    with ScriptedPacs().running() as pacs:
        with pytest.raises(StorageFull, match="mount"):
            _serve(pacs.destination(), settings, records)
        assert _states(records) == ["prepared"]
        (settings.data_dir / "elsewhere").rename(results)
        _serve(pacs.destination(), settings, records)
    assert _states(records) == ["sent"]


def test_a_paused_destination_gets_nothing_and_loses_nothing(
    settings: Settings, records: Database, object_bytes: bytes
) -> None:
    _answered(settings, records, object_bytes)
    assert pause_destination(records, "pacs", "alice", "migration of the archive")
    assert not pause_destination(records, "pacs", "alice", "again")
    with ScriptedPacs().running() as pacs:
        _serve(pacs.destination(), settings, records, rounds=2)
        assert (pacs.asked, [one.paused for one in list_destinations(records)]) == ([], [True])
        assert resume_destination(records, "pacs", "alice")
        assert not resume_destination(records, "pacs", "alice")
        serve_destination("pacs", pacs.destination(), settings, records)
        assert len(pacs.asked) == 1
    with records.reading() as session:
        kinds = (EventKind.DESTINATION_PAUSED.value, EventKind.DESTINATION_RESUMED.value)
        events = session.query(TrailEvent).where(TrailEvent.kind.in_(kinds)).order_by(TrailEvent.seq).all()
    assert [(one.kind, one.actor) for one in events] == [(kind, "alice") for kind in kinds]
    assert "migration of the archive" in events[0].details


def test_a_pause_holds_in_the_middle_of_a_turn(records: Database, settings: Settings) -> None:
    _answered(settings, records, b"x")
    turn = claim_destination(records, "pacs", "s", 30)
    assert turn is not None
    assert len(list_due(records, turn, 10)) == 1
    pause_destination(records, "pacs", "alice", "now")
    assert list_due(records, turn, 10) == []


def test_a_turn_that_broke_off_is_taken_up_again_by_the_same_sender(records: Database, settings: Settings) -> None:
    _answered(settings, records, b"x")
    first = claim_destination(records, "pacs", "send@here:1", 600)
    assert first is not None
    assert claim_destination(records, "pacs", "send@there:2", 600) is None
    again = claim_destination(records, "pacs", "send@here:1", 600)
    assert again is not None
    assert again.fence == first.fence + 1


def test_waiting_doubles_from_the_first_delay_to_the_most_and_half_of_it_is_chance(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings(retry_first_s=5.0, retry_most_s=900.0)
    longest = [back_off_s(failures, settings, lambda: 1.0) for failures in range(12)]
    assert longest == [5, 10, 20, 40, 80, 160, 320, 640, 900, 900, 900, 900]
    assert [back_off_s(failures, settings, lambda: 0.0) for failures in range(12)] == [full / 2 for full in longest]
    assert back_off_s(10_000, settings, lambda: 1.0) == 900
