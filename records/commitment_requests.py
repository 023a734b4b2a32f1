"""Commitments that callers ask us for: each question is kept until its caller has the answer."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import CursorResult, Select, select, update
from sqlalchemy.orm import Session

from core.states import CommitmentRequestState, EventKind
from records.clock import database_time
from records.database import Database
from records.tables import CommitmentRequest, Instance
from records.trail import add_event

_TOGETHER = 500
Item = tuple[str, str]


@dataclass(frozen=True, slots=True)
class RequestOfCaller:
    """A caller's question; `items` are pairs of SOP class and instance UID."""

    transaction_uid: str
    items: Sequence[Item]
    calling_ae_title: str
    called_ae_title: str
    peer_address: str


@dataclass(frozen=True, slots=True)
class PendingRequest:
    """A question to answer now. A `duplicate` is another question under a transaction UID that was used before."""

    request_id: int
    fence: int
    attempt: int
    duplicate: bool
    question: RequestOfCaller


@dataclass(frozen=True, slots=True)
class KeptInstance:
    """An instance that is on record, and where its file lies; deleted ones have none."""

    sop_class_uid: str
    path: str | None
    file_sha256: str


def record_request(database: Database, question: RequestOfCaller, delay_s: float = 0.0) -> int:
    """Keep a caller's question, to be answered after `delay_s`; its number. The same one again is answered again."""
    digest = sha256(json.dumps(sorted(question.items)).encode()).hexdigest()
    with database.writing() as session:
        now = database_time(session)
        mine = select(CommitmentRequest).where(
            CommitmentRequest.calling_ae_title == question.calling_ae_title,
            CommitmentRequest.transaction_uid == question.transaction_uid,
        )
        known = list(session.scalars(mine.with_for_update()))
        row = next((one for one in known if one.items_sha256 == digest), None)
        if row is None:
            row = CommitmentRequest(
                transaction_uid=question.transaction_uid,
                items_sha256=digest,
                items=[list(item) for item in question.items],
                duplicate=bool(known),
                calling_ae_title=question.calling_ae_title,
                called_ae_title=question.called_ae_title,
                peer_address=question.peer_address,
                created_at=now,
                fence=0,
            )
            session.add(row)
        row.state, row.not_before = CommitmentRequestState.PREPARED.value, now + timedelta(seconds=delay_s)
        row.attempt, row.fence, row.answered_at = 0, row.fence + 1, None
        session.flush()
        _note(session, EventKind.COMMITMENT_REQUESTED, row, now, peer_address=question.peer_address)
        return row.id


def claim_request(database: Database, lease_s: float, request_id: int | None = None) -> PendingRequest | None:
    """The question that is due next, or the one asked for whether it is due or not; nobody else's for `lease_s`."""
    with database.reading() as session:
        if session.scalar(_due(database_time(session), request_id)) is None:
            return None
    with database.writing() as session:
        now = database_time(session)
        row = session.scalar(_due(now, request_id).with_for_update(skip_locked=True))
        if row is None:
            return None
        row.fence, row.attempt, row.not_before = row.fence + 1, row.attempt + 1, now + timedelta(seconds=lease_s)
        question = RequestOfCaller(
            row.transaction_uid,
            [(one, other) for one, other in row.items],
            row.calling_ae_title,
            row.called_ae_title,
            row.peer_address,
        )
        return PendingRequest(row.id, row.fence, row.attempt, row.duplicate, question)


def _due(now: datetime, request_id: int | None) -> Select[CommitmentRequest]:
    query = select(CommitmentRequest).where(CommitmentRequest.state == CommitmentRequestState.PREPARED.value)
    if request_id is not None:
        return query.where(CommitmentRequest.id == request_id)
    return query.where(CommitmentRequest.not_before <= now).order_by(CommitmentRequest.id).limit(1)


def record_answered(database: Database, pending: PendingRequest, proved: int, denied: Mapping[str, int]) -> None:
    """The caller has the answer: how many instances were proved to be safe, and the reasons why others are not."""
    with database.writing() as session:
        now = database_time(session)
        done = _update(session, pending, state=CommitmentRequestState.ANSWERED.value, answered_at=now, last_error=None)
        if done:
            row = session.get_one(CommitmentRequest, pending.request_id)
            _note(session, EventKind.COMMITMENT_ANSWERED, row, now, proved=proved, denied=dict(denied))


def record_not_answered(database: Database, pending: PendingRequest, why: str, delay_s: float) -> None:
    """The caller could not be told; it is told again after a delay, without an end."""
    with database.writing() as session:
        _update(session, pending, last_error=why, not_before=database_time(session) + timedelta(seconds=delay_s))


def _update(session: Session, pending: PendingRequest, **values: object) -> bool:
    result = session.execute(
        update(CommitmentRequest)
        .where(
            CommitmentRequest.id == pending.request_id,
            CommitmentRequest.fence == pending.fence,
            CommitmentRequest.state == CommitmentRequestState.PREPARED.value,
        )
        .values(**values)
    )
    assert isinstance(result, CursorResult)
    return result.rowcount == 1


def _note(session: Session, kind: EventKind, row: CommitmentRequest, now: datetime, **details: Any) -> None:
    add_event(
        session,
        kind,
        actor=row.calling_ae_title,
        at=now,
        transaction_uid=row.transaction_uid,
        instances=len(row.items),
        duplicate=row.duplicate,
        **details,
    )


def find_kept(database: Database, sop_instance_uids: Sequence[str]) -> dict[str, list[KeptInstance]]:
    """What is on record of these instances: every content that came under each UID."""
    found: dict[str, list[KeptInstance]] = {}
    with database.reading() as session:
        for start in range(0, len(sop_instance_uids), _TOGETHER):
            some = list(sop_instance_uids[start : start + _TOGETHER])
            for row in session.scalars(select(Instance).where(Instance.sop_instance_uid.in_(some))):
                path = row.path if row.file_deleted_at is None else None
                kept = KeptInstance(row.sop_class_uid, path, row.file_sha256)
                found.setdefault(row.sop_instance_uid, []).append(kept)
    return found


def list_requests(database: Database) -> list[CommitmentRequest]:
    """Questions of callers, oldest first."""
    with database.reading() as session:
        return list(session.scalars(select(CommitmentRequest).order_by(CommitmentRequest.id)))
