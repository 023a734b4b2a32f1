"""One ECG all the way: from a sender, through real processes, to Orthanc, and read back from there."""

import io
import os
import re
import signal
import sqlite3
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE
from sqlalchemy import select

from core.states import DeliveryState, EventKind, JobState
from dicom_node.scu import Outgoing
from records.tables import Classification, Delivery, Instance, Job, TrailEvent
from tests.conftest import need_data, need_root, need_tool
from tests.e2e.ecgs import as_outgoing, drawn_page, jpeg_capture, pdf_object, storescu, waveform
from tests.node import ANSWER_S, Node
from tests.orthanc import Orthanc
from tests.servers import end_process, wait_until

HEATMAP, SR = "heatmap", "sr"


def _real_page(folder: Path) -> Path:
    page = sorted(need_data("pages/myocardial_infarction").glob("*.jpg"))[0]
    return jpeg_capture(page, folder)


def _drawn_page(folder: Path) -> Path:
    drawn_page().save(folder / "drawn.jpg", quality=90)
    return jpeg_capture(folder / "drawn.jpg", folder)


def _waveform(folder: Path) -> Path:
    (folder / "waveform.dcm").write_bytes(waveform().content or b"")
    return folder / "waveform.dcm"


def _pdf(folder: Path) -> Path:
    return pdf_object(drawn_page(), folder)


def _rows(node: Node, uid: str) -> dict[str, int]:
    """How many rows of each kind there are for an instance, and how many results of each kind a PACS has taken."""
    with node.database.reading() as session:
        ecgs = list(session.scalars(select(Instance.id).where(Instance.sop_instance_uid == uid)))
        jobs = session.scalars(select(Job.id).where(Job.ecg_id.in_(ecgs))).all()
        said = session.scalars(select(Classification.id).where(Classification.ecg_id.in_(ecgs))).all()
        taken = [DeliveryState.SENT.value, DeliveryState.COMMITTED.value]
        sent = select(Delivery.kind).where(Delivery.ecg_id.in_(ecgs), Delivery.state.in_(taken))
        counted = {"instance": len(ecgs), "job": len(jobs), "classification": len(said)}
        return counted | Counter(session.scalars(sent))


def _in_the_order_of_sending(node: Node, uid: str) -> list[str]:
    with node.database.reading() as session:
        mine = select(Delivery.kind).join(Instance, Instance.id == Delivery.ecg_id)
        return list(session.scalars(mine.where(Instance.sop_instance_uid == uid).order_by(Delivery.sent_at)))


def _held(orthanc: Orthanc, study_instance_uid: str) -> Counter[str]:
    """Modality of each object of a study that Orthanc holds: SR, and OT for a heat map."""
    held = orthanc.instances(StudyInstanceUID=study_instance_uid)
    return Counter(str(orthanc.dataset(uid).Modality) for uid in held)


ONE_OF_EACH = {"instance": 1, "job": 1, "classification": 1, SR: 1, HEATMAP: 1}


@pytest.mark.parametrize("make", [_real_page, _drawn_page, _waveform, _pdf])
def test_it_becomes_one_row_one_classification_one_sr_and_one_heat_map(
    house: Node, orthanc: Orthanc, tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    file = make(tmp_path)
    sent = dcmread(file)
    storescu(file, house.port(), *(("-xy",) if "page" in make.__name__ else ()))
    summary = house.wait_delivered(sent.SOPInstanceUID)
    assert summary.state is JobState.DONE
    assert _rows(house, sent.SOPInstanceUID) == ONE_OF_EACH
    assert _in_the_order_of_sending(house, sent.SOPInstanceUID) == [SR, HEATMAP]
    assert _held(orthanc, sent.StudyInstanceUID) == {"SR": 1, "OT": 1}
    _need_same_bytes(house, sent)
    for kind, uid, _state in summary.reports:
        back = orthanc.dataset(uid)
        assert (back.PatientID, back.PatientName, back.StudyInstanceUID) == (
            sent.PatientID,
            sent.PatientName,
            sent.StudyInstanceUID,
        )
        if kind == HEATMAP:
            assert back.pixel_array.shape == (back.Rows, back.Columns, 3)


def _need_same_bytes(node: Node, sent: Dataset) -> None:
    """What the sender gave as pixels, samples or document lies on disk byte for byte."""
    with node.database.reading() as session:
        path = session.scalars(select(Instance.path).where(Instance.sop_instance_uid == sent.SOPInstanceUID)).one()
    kept = dcmread(node.folder / path)
    for keyword in ("PixelData", "EncapsulatedDocument"):
        assert kept.get(keyword) == sent.get(keyword)
    if "WaveformSequence" in sent:
        assert [one.WaveformData for one in kept.WaveformSequence] == [
            one.WaveformData for one in sent.WaveformSequence
        ]


def test_what_is_sent_back_is_valid_and_readable_by_others(house: Node, orthanc: Orthanc, tmp_path: Path) -> None:
    ecg = waveform()
    house.push([ecg])
    for kind, uid, _state in house.wait_delivered(ecg.sop_instance_uid).reports:
        file = tmp_path / f"{kind}.dcm"
        file.write_bytes(orthanc.file(uid))
        said = subprocess.run([need_tool("dciodvfy"), str(file)], capture_output=True, text=True, timeout=60)
        assert "Error" not in said.stdout + said.stderr
        if kind == SR:
            shown = subprocess.run([need_tool("dsrdump"), "+Pl", str(file)], check=True, capture_output=True, text=True)
            assert "CONTAINER" in shown.stdout
            assert "Not verified by a physician" in shown.stdout


NAMES = {
    "Japanese, ISO 2022": (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    "Japanese, Unicode": ("ISO_IR 192", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    "Cyrillic, ISO 8859-5": ("ISO_IR 144", "Люкceмбypг^Анна"),
    "Cyrillic, Unicode": ("ISO_IR 192", "Иванов^Пётр"),
}


def test_names_of_every_script_come_out_as_they_went_in(house: Node, orthanc: Orthanc) -> None:
    sent = {what: waveform(SpecificCharacterSet=charset, PatientName=name) for what, (charset, name) in NAMES.items()}
    house.push(sent.values())
    for what, ecg in sent.items():
        for _kind, uid, _state in house.wait_delivered(ecg.sop_instance_uid).reports:
            assert str(orthanc.dataset(uid).PatientName) == NAMES[what][1], what


def test_one_instance_sent_fifty_times_by_twenty_senders_is_one_ecg(house: Node, orthanc: Orthanc) -> None:
    ecg = waveform()
    study = dcmread(io.BytesIO(ecg.content or b"")).StudyInstanceUID
    with ThreadPoolExecutor(20) as senders:
        answers = list(senders.map(lambda _: house.push([ecg])[0].status, range(50)))
    assert answers == [0x0000] * 50
    house.wait_delivered(ecg.sop_instance_uid)
    assert _rows(house, ecg.sop_instance_uid) == ONE_OF_EACH
    assert _held(orthanc, study) == {"SR": 1, "OT": 1}


def test_other_content_under_a_known_uid_is_kept_and_not_judged(house: Node) -> None:
    ecg = waveform()
    other = dcmread(io.BytesIO(ecg.content or b""))
    other.PatientID = "SOMEBODY ELSE"
    assert [one.status for one in house.push([ecg, as_outgoing(other)])] == [0x0000, 0x0000]
    house.wait_delivered(ecg.sop_instance_uid)
    assert _rows(house, ecg.sop_instance_uid) == ONE_OF_EACH | {"instance": 2}
    with house.database.reading() as session:
        conflict = session.scalars(
            select(Instance).where(
                Instance.sop_instance_uid == ecg.sop_instance_uid, Instance.disposition == "conflict"
            )
        ).one()
        events = session.scalars(select(TrailEvent.kind).where(TrailEvent.ecg_id == conflict.id)).all()
    assert dcmread(house.folder / conflict.path).PatientID == "SOMEBODY ELSE"
    assert events == [EventKind.CONTENT_CONFLICT]


def test_twenty_ecgs_end_as_twenty_srs_though_the_broker_was_never_started(house: Node, orthanc: Orthanc) -> None:
    ecgs = [waveform() for _ in range(20)]
    assert {one.status for one in house.push(ecgs)} == {0x0000}
    srs = set()
    for ecg in ecgs:
        reports = house.wait_delivered(ecg.sop_instance_uid).reports
        srs |= {uid for kind, uid, _state in reports if kind == SR}
    assert len(srs) == 20
    assert srs <= set(orthanc.instances(Modality="SR"))
    with house.database.reading() as session:
        assert set(session.scalars(select(Job.attempt))) == {1}


def test_what_a_killed_worker_had_claimed_is_finished_by_another_once(house: Node, tmp_path: Path) -> None:
    """The worker that is killed is held at the ECG's file, a pipe that nobody writes to."""
    ecg = waveform()
    with _frozen(house, "work"):
        house.push([ecg])
        file = house.folder / _row(house, ecg, Instance).path
        aside = file.rename(tmp_path / "aside.dcm")
        os.mkfifo(file)
        house.start("work", as_name="killed")
        wait_until(lambda: _row(house, ecg, Job).state == JobState.RUNNING, ANSWER_S, "the job is claimed")
        end_process(house.processes.pop("killed"), signal.SIGKILL)
        held_until = _row(house, ecg, Job).lease_until
        aside.replace(file)
    assert house.wait_delivered(ecg.sop_instance_uid).state is JobState.DONE
    assert _rows(house, ecg.sop_instance_uid) == ONE_OF_EACH
    job = _row(house, ecg, Job)
    assert job.attempt == 2
    assert held_until is not None
    assert held_until < job.started_at < held_until + timedelta(seconds=10)


@contextmanager
def _frozen(node: Node, name: str) -> Iterator[None]:
    """Stop a process of the node, but not while it holds the database's lock."""
    process = node.processes[name]
    while True:
        process.send_signal(signal.SIGSTOP)
        with closing(sqlite3.connect(node.folder / "ecg-node.sqlite3", timeout=2, isolation_level=None)) as database:
            try:
                database.execute("BEGIN IMMEDIATE")
                break
            except sqlite3.OperationalError:
                process.send_signal(signal.SIGCONT)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


Row = TypeVar("Row", Instance, Job)


def _row(node: Node, ecg: Outgoing, table: type[Row]) -> Row:
    """The instance or the job of an ECG that was sent once."""
    query = select(table).where(Instance.sop_instance_uid == ecg.sop_instance_uid)
    with node.database.reading() as session:
        return session.scalars(query if table is Instance else query.join(Instance)).one()


def test_stat_ecgs_are_known_by_priority_by_sender_and_by_description(house: Node) -> None:
    routine, described = waveform(), waveform(StudyDescription="ECG, acute CHEST PAIN")
    sender, priority = waveform(), waveform()
    house.push([routine, described])
    house.push([sender], calling="RESUS")
    _send_with_high_priority(house, priority)
    assert [_row(house, ecg, Job).stat for ecg in (routine, described, sender, priority)] == [False, True, True, True]


def _send_with_high_priority(node: Node, ecg: Outgoing) -> None:
    """Priority 1, high. PS3.7 9.1.1.1.6."""
    ae = AE("CART")
    ae.add_requested_context(ecg.sop_class_uid, ecg.transfer_syntax_uid)
    assoc = ae.associate("127.0.0.1", node.port(), ae_title="ECGNODE")
    assert assoc.is_established
    assert assoc.send_c_store(dcmread(io.BytesIO(ecg.content or b"")), priority=1).Status == 0x0000
    assoc.release()


def test_neither_side_waits_for_small_packets(house: Node, tmp_path: Path) -> None:
    """Nagle's algorithm and delayed acknowledgements cost 40 ms a message: both are off on both sides."""
    need_root()
    traces = {kind: tmp_path / kind for kind in ("listen", "send")}
    watching = [_strace(house.processes[kind].pid, trace) for kind, trace in traces.items()]
    ecg = waveform()
    house.push([ecg])
    house.wait_delivered(ecg.sop_instance_uid)
    for one in watching:
        end_process(one, signal.SIGINT)
    for trace in traces.values():
        made = trace.read_text()
        assert re.search(r"TCP_NODELAY, \[1\], 4\) = 0", made)
        assert len(re.findall(r"TCP_QUICKACK, \[1\], 4\) = 0", made)) > 1


def _strace(pid: int, to: Path) -> subprocess.Popen[bytes]:
    """Watch what options a process sets on its sockets."""
    command = [need_tool("strace"), "-f", "-e", "trace=setsockopt", "-o", str(to), "-p", str(pid)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert b"attached" in process.stderr.readline()
    threading.Thread(target=process.stderr.read, daemon=True).start()
    return process
