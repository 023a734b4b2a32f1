"""Peers of storage commitment for tests: a PACS that says what its script says, and a cart that wants to delete."""

import io
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom import AE, _config, build_role, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance, Verification

from core.settings import Destination, Settings
from core.states import ReportKind
from core.values import ReceivedInstance
from dicom_node.commitment import build_answer, build_question, question_of
from dicom_node.scu import SR_CLASS_UIDS
from records.database import Database
from records.instances import record_received
from records.jobs import claim_jobs
from records.results import Route, StoredReport, record_answer
from tests.records.samples import answer, received
from worker.files import save_result

SC_CLASS, SR_CLASS = "1.2.840.10008.5.1.4.1.1.7", SR_CLASS_UIDS["comprehensive"]
PLAIN = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
Item = tuple[str, str]


def small_object(sop_class_uid: str = SC_CLASS, study_uid: str = "") -> tuple[str, bytes]:
    """A SOP Instance UID and a Part 10 file that a PACS takes."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class_uid, generate_uid(prefix=None)
    dataset.StudyInstanceUID = study_uid or generate_uid(prefix=None)
    dataset.SeriesInstanceUID = generate_uid(prefix=None)
    dataset.PatientID, dataset.PatientName, dataset.Modality = "P1", "Test^Commitment", "OT"
    dataset.StudyDate, dataset.StudyTime, dataset.AccessionNumber, dataset.StudyID = "20260101", "120000", "A1", "1"
    if sop_class_uid == SC_CLASS:
        dataset.Rows = dataset.Columns = 8
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
        dataset.PixelData = bytes(64)
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return str(dataset.SOPInstanceUID), buffer.getvalue()


def record_result(settings: Settings, database: Database, destination: str = "pacs") -> list[str]:
    """One answered ECG, whose SR and heat map wait for a destination; their SOP Instance UIDs."""
    record_received(database, received())
    (job,) = claim_jobs(database, "w", 1, 30, 3)
    stored, study = [], generate_uid(prefix=None)
    for kind, sr_class, uid in ((ReportKind.HEATMAP, "", SC_CLASS), (ReportKind.SR, "comprehensive", SR_CLASS)):
        instance, content = small_object(uid, study)
        name = save_result(settings, content)
        frame = 1 if kind is ReportKind.HEATMAP else 0
        stored.append(
            StoredReport(kind, frame, sr_class, uid, instance, "1.2.3", str(ExplicitVRLittleEndian), name, len(content))
        )
    base = answer()
    whole = type(base)(
        base.state, None, base.frames, stored, base.model, base.code_version, base.recorded_at, base.timings_ms
    )
    record_answer(database, job, whole, [Route(destination, frozenset(ReportKind), "comprehensive")])
    return [one.sop_instance_uid for one in stored]


def instance_of(sop_instance_uid: str, file_sha256: str, path: str) -> ReceivedInstance:
    """A row for a file that lies in the data folder already."""
    return received(
        sop_class_uid=SC_CLASS,
        sop_instance_uid=sop_instance_uid,
        file_sha256=file_sha256,
        content_sha256=file_sha256,
        path=path,
    )


class CommitmentPacs:
    """Takes every object and every question; answers when it is told to, unless `script` has a status to refuse with.

    With `same_association` it answers at once, that it has everything.
    """

    def __init__(self, script: Sequence[int] = (), same_association: bool = False, commits: bool = True) -> None:
        self.held: list[str] = []
        self.asked: list[tuple[str, list[Item]]] = []
        self.seen_in_database: list[bool] = []
        self.watched: Database | None = None
        self.port = 0
        self._script = list(script)
        self._same = same_association
        self._commits = commits

    @contextmanager
    def running(self) -> Iterator["CommitmentPacs"]:
        _config.LOG_HANDLER_LEVEL = "none"
        ae = AE("PACS")
        classes = [*SR_CLASS_UIDS.values(), SC_CLASS, Verification]
        for uid in [*classes, StorageCommitmentPushModel] if self._commits else classes:
            ae.add_supported_context(uid, PLAIN)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_N_ACTION, self._action)]
        server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.port = server.server_address[1]
        try:
            yield self
        finally:
            ae.shutdown()

    def destination(self, **given: object) -> Destination:
        fields: dict[str, object] = {
            "host": "127.0.0.1",
            "port": self.port,
            "ae_title": "PACS",
            "sr_class": "comprehensive",
            "commitment": True,
        }
        return Destination(**(fields | given))  # type: ignore[arg-type]

    def _store(self, event: evt.Event) -> int:
        self.held.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    def _action(self, event: evt.Event) -> tuple[int, None]:
        question = question_of(event.action_information)
        self.asked.append(question)
        if self.watched is not None:
            self.seen_in_database.append(is_on_record(self.watched, question[0]))
        status = self._script.pop(0) if self._script else 0x0000
        if status == 0x0000 and self._same:
            threading.Thread(target=self._tell_here, args=(event.assoc, question), daemon=True).start()
        return status, None

    def _tell_here(self, assoc: object, question: tuple[str, list[Item]]) -> None:
        event_type, information = build_answer(question[0], question[1], {})
        assoc.send_n_event_report(  # type: ignore[attr-defined]
            information, event_type, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )

    def report(
        self, port: int, transaction_uid: str, committed: Sequence[Item], denied: Mapping[Item, int], role: bool = True
    ) -> int:
        """N-EVENT-REPORT on a new association to a node's listener; its status."""
        event_type, information = build_answer(transaction_uid, committed, denied)
        return call(port, "PACS", event=(event_type, information), role=role)


def is_on_record(database: Database, transaction_uid: str) -> bool:
    from records.commitments import list_commitments

    return transaction_uid in {row.transaction_uid for row in list_commitments(database)}


def call(
    port: int,
    calling: str,
    event: tuple[int, Dataset] | None = None,
    action: tuple[int, Dataset | None] | None = None,
    role: bool = False,
) -> int:
    """One N-EVENT-REPORT or N-ACTION to a node's listener; its status."""
    ae = AE(calling)
    ae.add_requested_context(StorageCommitmentPushModel, PLAIN)
    roles = [build_role(StorageCommitmentPushModel, scp_role=True)] if role else []
    assoc = ae.associate("127.0.0.1", port, ae_title="ECGNODE", ext_neg=roles)
    assert assoc.is_established
    where = (StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
    if event is not None:
        status, _ = assoc.send_n_event_report(event[1], event[0], *where)
    else:
        assert action is not None
        status, _ = assoc.send_n_action(action[1], action[0], *where)
    assoc.release()
    return int(status.Status)


class Cart:
    """Asks whether it may delete, and keeps what it is told: event type, proved and denied instances."""

    def __init__(self) -> None:
        self.told: list[tuple[int, str, set[str], dict[str, int]]] = []
        self.port = 0

    @contextmanager
    def listening(self, port: int = 0, tls: ssl.SSLContext | None = None, with_roles: bool = True) -> Iterator["Cart"]:
        """Wait for answers; a cart without roles leaves the question for them unanswered. PS3.7 D.3.3.4."""
        ae = AE("CART")
        roles = {"scu_role": True, "scp_role": True} if with_roles else {}
        ae.add_supported_context(StorageCommitmentPushModel, PLAIN, **roles)
        handlers = [(evt.EVT_N_EVENT_REPORT, self._told)]
        server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers, ssl_context=tls)
        self.port = server.server_address[1]
        try:
            yield self
        finally:
            ae.shutdown()

    def _told(self, event: evt.Event) -> tuple[int, None]:
        information = event.event_information
        proved = {str(one.ReferencedSOPInstanceUID) for one in information.get("ReferencedSOPSequence") or []}
        denied = {
            str(one.ReferencedSOPInstanceUID): int(one.FailureReason)
            for one in information.get("FailedSOPSequence") or []
        }
        self.told.append((event.event_type, str(information.TransactionUID), proved, denied))
        return 0x0000, None

    def ask(self, port: int, transaction_uid: str, items: Sequence[Item]) -> int:
        """Ask and hang up; the status."""
        return call(port, "CART", action=(1, build_question(transaction_uid, items)))

    @contextmanager
    def asking(self, port: int, transaction_uid: str, items: Sequence[Item]) -> Iterator[int]:
        """Ask and keep the association open for the answer; the status."""
        ae = AE("CART")
        ae.add_requested_context(StorageCommitmentPushModel, PLAIN)
        handlers = [(evt.EVT_N_EVENT_REPORT, self._told)]
        assoc = ae.associate("127.0.0.1", port, ae_title="ECGNODE", evt_handlers=handlers)
        assert assoc.is_established
        status, _ = assoc.send_n_action(
            build_question(transaction_uid, items), 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
        yield int(status.Status)
        assoc.release()
