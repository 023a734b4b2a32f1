"""The accept path: nothing is acknowledged before its file is on disk and its row is committed."""

import time
from dataclasses import dataclass, field

import structlog

from core.errors import DatabaseAway, StorageFull
from core.settings import Settings
from core.states import EventKind
from core.values import ReceivedInstance
from core.wakeup import Wakeup
from dicom_node import received_header as header
from dicom_node.admission import is_stat_caller
from dicom_node.contexts import ObjectKind, kind_of, storage_classes
from dicom_node.spool import Spool, Spooled
from dicom_node.statuses import RefusedBecause, Status
from dicom_node.strict import (
    DOUBLE_FLOAT_PIXEL_DATA,
    ENCAPSULATED_DOCUMENT,
    FLOAT_PIXEL_DATA,
    PIXEL_DATA,
    WAVEFORM_SEQUENCE,
    Unreadable,
    Walked,
    walk,
)
from records.database import Database
from records.instances import Receipt, record_received
from records.trail import record_event

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Incoming:
    """One C-STORE request as it came: the command's UIDs, the accepted context, and the data set's bytes."""

    sop_class_uid: str
    sop_instance_uid: str
    context_class_uid: str
    transfer_syntax_uid: str
    data_set: bytes
    high_priority: bool
    calling_ae_title: str
    called_ae_title: str
    peer_address: str
    association_id: str
    last_byte_at: float = field(default_factory=time.monotonic)


class Refused(Exception):
    """A C-STORE that is answered with a failure; nothing of it was kept."""

    def __init__(self, status: Status, because: RefusedBecause) -> None:
        super().__init__(because.value)
        self.status = status
        self.because = because


class Intake:
    """Takes instances in, one call each."""

    def __init__(self, settings: Settings, database: Database, wakeup: Wakeup) -> None:
        self._settings = settings
        self._database = database
        self._wakeup = wakeup
        self._spool = Spool(settings)

    def take(self, incoming: Incoming) -> Receipt:
        """Keep an instance and record it. Raises Refused, with nothing kept."""
        walked = check(incoming, self._settings)
        spooled = self._save(incoming)
        receipt = self._record(self._described(incoming, walked, spooled), spooled, incoming.last_byte_at)
        if receipt.job_id is not None:
            self._wakeup.wake(receipt.job_id, self._is_stat(incoming, walked))
        ids = {"association": incoming.association_id, "ecg": receipt.ecg_id, "job": receipt.job_id}
        _log.info("received", outcome=receipt.outcome.value, **ids)
        return receipt

    def _record(self, received: ReceivedInstance, spooled: Spooled, last_byte_at: float) -> Receipt:
        keep = False
        try:
            receipt = record_received(self._database, received, since_s=time.monotonic() - last_byte_at)
            keep = receipt.keep_file
            return receipt
        except DatabaseAway as error:
            # A commit that may have happened keeps its file; the sweep removes it when there is no row
            keep = error.in_doubt
            raise Refused(Status.OUT_OF_RESOURCES, RefusedBecause.DATABASE) from error
        finally:
            if not keep:
                self._spool.remove(spooled)

    def refuse(self, incoming: Incoming, refused: Refused) -> None:
        """Put a refusal on record; the answer to the sender never depends on it."""
        _log.warning(
            "store_refused",
            association=incoming.association_id,
            status=f"{refused.status:#06x}",
            because=refused.because.value,
        )
        if refused.because in (RefusedBecause.DATABASE, RefusedBecause.STORAGE, RefusedBecause.DISK_RESERVE):
            return  # the trail lies on the same disk or in the same database
        try:
            record_event(
                self._database,
                EventKind.STORE_REFUSED,
                actor=incoming.calling_ae_title,
                status=int(refused.status),
                because=refused.because.value,
                peer_address=incoming.peer_address,
                association_id=incoming.association_id,
            )
        except DatabaseAway as error:
            _log.warning("refusal_not_recorded", why=str(error))

    def _save(self, incoming: Incoming) -> Spooled:
        try:
            self._spool.need_room(len(incoming.data_set))
        except StorageFull as error:
            raise Refused(Status.OUT_OF_RESOURCES, RefusedBecause.DISK_RESERVE) from error
        try:
            return self._spool.save(
                incoming.data_set, incoming.sop_class_uid, incoming.sop_instance_uid, incoming.transfer_syntax_uid
            )
        except StorageFull as error:
            raise Refused(Status.OUT_OF_RESOURCES, RefusedBecause.STORAGE) from error

    def _described(self, incoming: Incoming, walked: Walked, spooled: Spooled) -> ReceivedInstance:
        return ReceivedInstance(
            sop_class_uid=incoming.sop_class_uid,
            sop_instance_uid=incoming.sop_instance_uid,
            study_instance_uid=header.uid_of(walked.values[header.STUDY_INSTANCE_UID]),
            series_instance_uid=header.uid_of(walked.values[header.SERIES_INSTANCE_UID]),
            transfer_syntax_uid=incoming.transfer_syntax_uid,
            content_sha256=spooled.content_sha256,
            comparison_sha256=walked.comparison_sha256,
            pixel_sha256=walked.pixel_sha256,
            file_sha256=spooled.file_sha256,
            path=spooled.path,
            size_bytes=spooled.size_bytes,
            calling_ae_title=incoming.calling_ae_title,
            called_ae_title=incoming.called_ae_title,
            peer_address=incoming.peer_address,
            association_id=incoming.association_id,
            stat=self._is_stat(incoming, walked),
            **header.texts_of(walked.values),
        )

    def _is_stat(self, incoming: Incoming, walked: Walked) -> bool:
        wanted = self._settings.stat_study_description.casefold()
        described = header.texts_of(walked.values)["study_description"].casefold() if wanted else ""
        by_text = bool(wanted) and wanted in described
        return incoming.high_priority or by_text or is_stat_caller(self._settings, incoming.calling_ae_title)


def check(incoming: Incoming, settings: Settings) -> Walked:
    """What the header says, when nothing speaks against keeping the instance. Raises Refused."""
    if incoming.context_class_uid not in storage_classes(settings):
        raise Refused(Status.SOP_CLASS_NOT_SUPPORTED, RefusedBecause.NOT_STORAGE)
    if incoming.sop_class_uid != incoming.context_class_uid:
        raise Refused(Status.DATA_SET_DOES_NOT_MATCH, RefusedBecause.CLASS_OF_CONTEXT)
    if not header.is_uid(incoming.sop_instance_uid):
        raise Refused(Status.UID_MALFORMED, RefusedBecause.UID_MALFORMED)
    if not incoming.data_set:
        raise Refused(Status.CANNOT_UNDERSTAND, RefusedBecause.NO_DATA_SET)
    if len(incoming.data_set) > settings.max_instance_bytes:
        raise Refused(Status.TOO_LARGE, RefusedBecause.TOO_LARGE)
    try:
        walked = walk(incoming.data_set, incoming.transfer_syntax_uid, header.WANTED, settings.max_nesting)
    except Unreadable as error:
        raise Refused(error.status, error.because) from error
    _check_uids(incoming, walked)
    _check_content(incoming, walked)
    return walked


def _check_uids(incoming: Incoming, walked: Walked) -> None:
    found = {tag: header.uid_of(walked.values.get(tag, b"")) for tag in _LINKING}
    if not all(found.values()):
        raise Refused(Status.UID_MISSING, RefusedBecause.UID_MISSING)
    if not all(header.is_uid(uid) for uid in found.values()):
        raise Refused(Status.UID_MALFORMED, RefusedBecause.UID_MALFORMED)
    if found[header.SOP_CLASS_UID] != incoming.sop_class_uid:
        raise Refused(Status.DATA_SET_DOES_NOT_MATCH, RefusedBecause.CLASS_OF_DATA_SET)
    if found[header.SOP_INSTANCE_UID] != incoming.sop_instance_uid:
        raise Refused(Status.DATA_SET_DOES_NOT_MATCH, RefusedBecause.UID_OF_DATA_SET)


def _check_content(incoming: Incoming, walked: Walked) -> None:
    """What was cut off between two elements has lengths that hold; its pixels, which come last, are missing."""
    needed = _CONTENT.get(kind_of(incoming.sop_class_uid))
    if needed and not needed & walked.contents:
        raise Refused(Status.TRUNCATED, RefusedBecause.NO_CONTENT)


_LINKING = (
    header.SOP_CLASS_UID,
    header.SOP_INSTANCE_UID,
    header.STUDY_INSTANCE_UID,
    header.SERIES_INSTANCE_UID,
)
# Type 1 in these objects: PS3.3 C.7.6.3, C.10.9, C.24.2
_CONTENT = {
    ObjectKind.IMAGE: {PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA},
    ObjectKind.WAVEFORM: {WAVEFORM_SEQUENCE},
    ObjectKind.PDF: {ENCAPSULATED_DOCUMENT},
}
