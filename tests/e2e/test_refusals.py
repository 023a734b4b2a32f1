"""What is not taken gets the status that says why, and nothing of it is kept."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.uid import generate_uid
from sqlalchemy import func, select

from core.settings import Destination, Settings
from core.states import EventKind
from core.wakeup import Wakeup
from dicom_node.listener import Listener
from dicom_node.scu import Outgoing, send
from dicom_node.spool import FOLDER, PREAMBLE, file_meta
from records.database import Database, open_database
from records.migrate import migrate
from records.tables import Instance, Job, TrailEvent
from tests.e2e.ecgs import waveform
from tests.servers import wait_until


@pytest.fixture
def listening(make_settings: Callable[..., Settings]) -> Iterator[Callable[..., tuple[Destination, Database]]]:
    """Listeners with settings of the test's own."""
    running: list[tuple[Listener, Database]] = []

    def listen(**given: object) -> tuple[Destination, Database]:
        settings = make_settings(**given)
        database = open_database(settings)
        migrate(database)
        listener = Listener(settings, database, Wakeup(settings))
        running.append((listener, database))
        return Destination(host="127.0.0.1", port=listener.start(), ae_title="ECGNODE"), database

    yield listen
    for listener, database in running:
        listener.stop()
        database.close()


def _with_data_set(data_set: bytes) -> Outgoing:
    """A file whose meta information is in order, around these bytes."""
    ecg = waveform()
    head = PREAMBLE + file_meta(ecg.sop_class_uid, ecg.sop_instance_uid, ecg.transfer_syntax_uid)
    return replace(ecg, content=head + data_set)


def _no_dicom() -> Outgoing:
    return _with_data_set(b"this is a letter, not a data set. " * 20)


def _truncated() -> Outgoing:
    ecg = waveform()
    return replace(ecg, content=(ecg.content or b"")[:-1000])


def _of_another_uid() -> Outgoing:
    """The file meta, and so the command, names an instance; the data set is another one."""
    ecg, other = waveform(), generate_uid()
    head = PREAMBLE + file_meta(ecg.sop_class_uid, other, ecg.transfer_syntax_uid)
    content = ecg.content or b""
    # PS3.10 7.1: group length of the file meta at byte 140; the data set begins 144 bytes and that length later
    return replace(
        ecg, sop_instance_uid=other, content=head + content[144 + int.from_bytes(content[140:144], "little") :]
    )


def _of_no_patient_or_study() -> Outgoing:
    ecg = waveform()
    return _with_data_set(b"\x08\0\x16\0UI" + len(ecg.sop_class_uid).to_bytes(2, "little") + ecg.sop_class_uid.encode())


def _need_nothing_kept(folder: Path, database: Database) -> None:
    assert [path for path in (folder / FOLDER).rglob("*") if path.is_file()] == []
    with database.reading() as session:
        assert session.scalar(select(func.count(Instance.id))) == 0
        assert session.scalar(select(func.count(Job.id))) == 0


def _event(database: Database, kind: EventKind) -> str:
    """Details of the only event of a kind; the answer may reach the sender before it is on record."""

    def found() -> str | None:
        with database.reading() as session:
            return session.scalars(select(TrailEvent.details).where(TrailEvent.kind == kind.value)).one_or_none()

    details: str = wait_until(found, 30, f"{kind} is in the trail")
    return details


@pytest.mark.parametrize(
    ("make", "status"),
    [(_no_dicom, 0xC000), (_truncated, 0xC001), (_of_another_uid, 0xA900), (_of_no_patient_or_study, 0xC003)],
)
def test_what_is_no_sound_instance_is_refused(
    listening: Callable[..., tuple[Destination, Database]], make: Callable[[], Outgoing], status: int
) -> None:
    node, database = listening()
    (outcome,) = send(node, "CART", [make()], 30.0)
    assert outcome.status == status
    _need_nothing_kept(database.data_dir, database)
    assert f'"status":{status}' in _event(database, EventKind.STORE_REFUSED)


def test_a_disk_below_its_reserve_takes_nothing(listening: Callable[..., tuple[Destination, Database]]) -> None:
    node, database = listening(disk_reserve_bytes=1 << 60)
    (outcome,) = send(node, "CART", [waveform()], 30.0)
    assert outcome.status == 0xA700
    _need_nothing_kept(database.data_dir, database)


@pytest.mark.parametrize(("calling", "called", "reason"), [("STRANGER", "ECGNODE", 3), ("CART", "OTHER", 7)])
def test_an_unknown_ae_title_gets_no_association(
    listening: Callable[..., tuple[Destination, Database]], calling: str, called: str, reason: int
) -> None:
    node, database = listening(demo=False, callers={"carts": {"ae_titles": ["CART", "CART2"]}})
    (outcome,) = send(node.model_copy(update={"ae_title": called}), calling, [waveform()], 30.0)
    assert outcome.status is None
    assert "rejected" in outcome.text
    _need_nothing_kept(database.data_dir, database)
    assert f'"reason":[1,1,{reason}]' in _event(database, EventKind.ASSOCIATION_REJECTED)
    assert [one.status for one in send(node, "CART2", [waveform()], 30.0)] == [0x0000]
