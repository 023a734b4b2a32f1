"""Storage commitment from the sender's side: asking destinations, and telling callers what we keep."""

import random
from functools import partial

import structlog

from core.back_off import back_off_s
from core.errors import BadSettings, PeerAway
from core.settings import Destination, Settings
from dicom_node.commitment import ask, build_answer, new_transaction_uid, patience_of, tell
from dicom_node.commitment_proof import find_caller, prove
from records.commitment_requests import PendingRequest, claim_request, record_answered, record_not_answered
from records.commitments import CommitmentAnswer, begin_commitment, record_asked, record_commitment, record_not_asked
from records.database import Database

_log = structlog.get_logger(__name__)
_TOGETHER = 200  # results that share a transaction
_ROUND_TRIPS = 4


def asking_round(name: str, destination: Destination, settings: Settings, database: Database) -> int:
    """Ask a destination about results that it took; how many. Raises DatabaseAway."""
    patience = patience_of(settings)
    pending = begin_commitment(database, name, new_transaction_uid(), patience, _TOGETHER)
    if pending is None:
        return 0

    def record(answer: CommitmentAnswer) -> bool:
        return record_commitment(database, answer, destination.ae_title, patience)

    try:
        ask(destination, pending, settings, record)
    except PeerAway as error:
        _log.warning("commitment_not_asked", destination=name, why=str(error))
        record_not_asked(database, pending, str(error), patience)
        return 0
    record_asked(database, pending)
    return len(pending.items)


def telling_round(settings: Settings, database: Database) -> int:
    """Tell a caller what we keep of what it asked about; 1 when one was told, else 0. Raises DatabaseAway."""
    pending = claim_request(database, settings.lease_s + _ROUND_TRIPS * settings.send_timeout_s)
    if pending is None:
        return 0
    postpone = partial(_postpone, pending, settings, database)
    caller = find_caller(settings, pending.question.calling_ae_title)
    if caller is None:
        return postpone("set host and port of the caller: it did not wait for the answer")
    proof = prove(database, settings.data_dir, pending)
    event_type, information = build_answer(pending.question.transaction_uid, proof.proved, proof.denied)
    try:
        tell(caller, pending.question.called_ae_title, event_type, information, settings.send_timeout_s)
    except (PeerAway, BadSettings) as error:
        return postpone(str(error))
    denied = {uid: int(reason) for (_class, uid), reason in proof.denied.items()}
    record_answered(database, pending, len(proof.proved), denied)
    return 1


def _postpone(pending: PendingRequest, settings: Settings, database: Database, why: str) -> int:
    delay_s = back_off_s(pending.attempt - 1, settings, random.random)
    _log.warning("commitment_not_told", request=pending.request_id, why=why, delay_s=round(delay_s, 1))
    record_not_answered(database, pending, why, delay_s)
    return 0
