"""What we may tell a caller that it can delete: what is on record, and whose file is whole on disk now."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from core.files import sha256_of
from core.settings import Caller, Destination, Settings
from dicom_node.statuses import FailureReason
from records.commitment_requests import Item, KeptInstance, PendingRequest, find_kept
from records.database import Database

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Proof:
    """Which instances are safe, and why others are not, by SOP class and instance UID."""

    proved: Sequence[Item]
    denied: dict[Item, FailureReason]


def prove(database: Database, data_dir: Path, pending: PendingRequest) -> Proof:
    """Look at rows and files of everything that a caller asks about. Raises DatabaseAway."""
    items = pending.question.items
    if pending.duplicate:
        return Proof([], dict.fromkeys(items, FailureReason.DUPLICATE_TRANSACTION_UID))
    kept = find_kept(database, [uid for _class, uid in items])
    reasons = {item: _why_not(item, kept.get(item[1], []), data_dir) for item in items}
    denied = {item: reason for item, reason in reasons.items() if reason is not None}
    return Proof([item for item in items if item not in denied], denied)


def _why_not(item: Item, kept: Sequence[KeptInstance], data_dir: Path) -> FailureReason | None:
    """None when every content that came under the UID is safe: the caller may mean any of them."""
    sop_class_uid, sop_instance_uid = item
    if not kept or any(one.path is None for one in kept):
        return FailureReason.NO_SUCH_OBJECT_INSTANCE
    if any(one.sop_class_uid != sop_class_uid for one in kept):
        return FailureReason.CLASS_INSTANCE_CONFLICT
    if not all(_is_whole(one, data_dir) for one in kept):
        _log.error(
            "commitment_denied", sop_instance_uid=sop_instance_uid, why="a file is gone or not what was received"
        )
        return FailureReason.PROCESSING_FAILURE
    return None


def _is_whole(kept: KeptInstance, data_dir: Path) -> bool:
    try:
        return sha256_of(data_dir / (kept.path or "")) == kept.file_sha256
    except OSError:
        return False


def find_caller(settings: Settings, ae_title: str) -> Destination | None:
    """Where a caller listens for answers; None when it is not set."""
    for caller in settings.callers.values():
        if ae_title in caller.ae_titles and caller.host:
            return way_to(caller, ae_title, settings)
    return None


def way_to(caller: Caller, ae_title: str, settings: Settings) -> Destination:
    """How a caller is reached: over TLS where it, or else the listener, is set so."""
    assert caller.host
    if not (caller.tls if caller.tls is not None else not settings.serves_plain):
        return Destination(host=caller.host, port=caller.port, ae_title=ae_title)
    return Destination(
        host=caller.host,
        port=caller.port,
        ae_title=ae_title,
        tls=True,
        tls_ca_file=caller.tls_ca_file or settings.tls_ca_file,
        tls_certificate_file=settings.tls_certificate_file,
        tls_key_file=settings.tls_key_file,
        tls_server_name=caller.tls_server_name,
    )
