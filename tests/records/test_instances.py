"""An instance is recorded once, whoever sends it how often."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from sqlalchemy import func, select

from core.states import EventKind
from records.database import Database
from records.instances import Outcome, record_received
from records.tables import Instance, Job, TrailEvent
from tests.records.samples import received


def _count(database: Database, table: type) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_a_new_instance_gets_a_row_a_job_and_an_event(database: Database) -> None:
    receipt = record_received(database, received())
    assert receipt.outcome is Outcome.NEW
    assert receipt.job_id is not None
    assert (_count(database, Instance), _count(database, Job), _count(database, TrailEvent)) == (1, 1, 1)


def test_an_identical_resend_is_no_new_work(database: Database) -> None:
    first = received()
    kept = record_received(database, first)
    again = record_received(database, replace(first, path="received/again.dcm"))
    assert (again.outcome, again.ecg_id, again.job_id, again.keep_file) == (Outcome.RESENT, kept.ecg_id, None, False)
    assert (_count(database, Instance), _count(database, Job)) == (1, 1)


def test_other_content_under_a_known_uid_is_kept_without_a_job(database: Database) -> None:
    first = received()
    record_received(database, first)
    other = received(sop_instance_uid=first.sop_instance_uid)
    receipt = record_received(database, other)
    assert (receipt.outcome, receipt.job_id, receipt.keep_file) == (Outcome.CONFLICT, None, True)
    assert (_count(database, Instance), _count(database, Job)) == (2, 1)
    with database.reading() as session:
        kinds = list(session.scalars(select(TrailEvent.kind).order_by(TrailEvent.seq)))
    assert kinds == [EventKind.INSTANCE_RECEIVED, EventKind.CONTENT_CONFLICT]


def test_only_the_transfer_syntax_differing_is_no_conflict(database: Database) -> None:
    first = received()
    record_received(database, first)
    other = received(
        sop_instance_uid=first.sop_instance_uid,
        transfer_syntax_uid="1.2.840.10008.1.2",
        comparison_sha256=first.comparison_sha256,
    )
    receipt = record_received(database, other)
    assert (receipt.outcome, receipt.job_id) == (Outcome.RESENT_IN_OTHER_SYNTAX, None)


def test_twenty_senders_of_one_instance_make_one_row(database: Database) -> None:
    first = received()
    with ThreadPoolExecutor(20) as pool:
        sent = [replace(first, path=f"received/{n}.dcm") for n in range(50)]
        receipts = list(pool.map(lambda one: record_received(database, one), sent))
    assert sum(receipt.outcome is Outcome.NEW for receipt in receipts) == 1
    assert sum(receipt.keep_file for receipt in receipts) == 1
    assert (_count(database, Instance), _count(database, Job)) == (1, 1)


def test_twenty_contents_under_one_uid_at_once_make_one_job(database: Database) -> None:
    with ThreadPoolExecutor(20) as pool:
        sent = [received(sop_instance_uid="1.9.9") for _ in range(20)]
        receipts = list(pool.map(lambda one: record_received(database, one), sent))
    assert sum(receipt.job_id is not None for receipt in receipts) == 1
    assert (_count(database, Instance), _count(database, Job)) == (20, 1)
