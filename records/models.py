"""Which model is in service and which one in shadow: a history that only grows; its last row of a role holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import Rejected
from core.states import EventKind, ModelAction, ModelRole
from records.clock import database_time
from records.database import Database
from records.tables import ModelRelease
from records.trail import add_event


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model by what identifies it: its weights, and the card with its calibration and thresholds."""

    weights_sha256: str
    card_sha256: str
    version: str
    calibration_version: str
    thresholds: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The models of this installation; None: the one to start with, and no shadow."""

    service: ModelChoice | None
    shadow: ModelChoice | None


def find_chosen(database: Database) -> Chosen:
    """Which models hold now. Raises DatabaseAway."""
    with database.reading() as session:
        return Chosen(_latest(session, ModelRole.SERVICE), _latest(session, ModelRole.SHADOW))


def _latest(session: Session, role: ModelRole) -> ModelChoice | None:
    query = select(ModelRelease).where(ModelRelease.role == role.value).order_by(ModelRelease.id.desc()).limit(1)
    row = session.scalar(query)
    return _choice(row) if row is not None and row.weights_sha256 else None


def _choice(row: ModelRelease) -> ModelChoice:
    return ModelChoice(row.weights_sha256, row.card_sha256, row.version, row.calibration_version, row.thresholds)


def record_release(database: Database, to: ModelChoice, start: ModelChoice, actor: str, why: str) -> ModelChoice:
    """Put a model into service; the one that was there before. `start` is what served before the first release.

    Raises Rejected when it is in service already.
    """
    with database.writing() as session:
        now = database_time(session)
        stack = _stack(session)
        if not stack:
            _add(
                session, ModelRole.SERVICE, ModelAction.START, start, "node", "in service before the first release", now
            )
            stack = [start]
        if stack[-1] == to:
            raise Rejected(f"model {to.version}, sha256 {to.weights_sha256[:12]}, is in service already")
        _add(session, ModelRole.SERVICE, ModelAction.RELEASE, to, actor, why, now)
        _note(session, EventKind.MODEL_RELEASED, to, actor, why, now, before=stack[-1].weights_sha256)
        return stack[-1]


def record_rollback(database: Database, actor: str, why: str) -> ModelChoice:
    """Put the model back into service that served before the present one; it. Raises Rejected when there is none."""
    with database.writing() as session:
        now = database_time(session)
        stack = _stack(session)
        if len(stack) < 2:
            raise Rejected("nothing to roll back to: no model was released after the one that this node started with")
        _add(session, ModelRole.SERVICE, ModelAction.ROLLBACK, stack[-2], actor, why, now)
        _note(session, EventKind.MODEL_ROLLED_BACK, stack[-2], actor, why, now, before=stack[-1].weights_sha256)
        return stack[-2]


def list_service_stack(database: Database) -> list[ModelChoice]:
    """Models in service, each above the one that it replaced and that a rollback leads to."""
    with database.reading() as session:
        return _stack(session)


def _stack(session: Session) -> list[ModelChoice]:
    rows = session.scalars(
        select(ModelRelease).where(ModelRelease.role == ModelRole.SERVICE.value).order_by(ModelRelease.id)
    )
    stack: list[ModelChoice] = []
    for row in rows:
        if row.action == ModelAction.ROLLBACK.value:
            stack.pop()
        else:
            stack.append(_choice(row))
    return stack


def record_shadow(database: Database, to: ModelChoice | None, actor: str, why: str) -> None:
    """Let a model judge in shadow of the one in service; None ends it."""
    with database.writing() as session:
        now = database_time(session)
        none = ModelChoice("", "", "", "", {})
        action = ModelAction.SHADOW if to else ModelAction.STOP
        _add(session, ModelRole.SHADOW, action, to or none, actor, why, now)
        kind = EventKind.MODEL_SHADOWED if to else EventKind.MODEL_UNSHADOWED
        _note(session, kind, to or none, actor, why, now)


def _add(
    session: Session, role: ModelRole, action: ModelAction, choice: ModelChoice, actor: str, why: str, now: datetime
) -> None:
    session.add(
        ModelRelease(
            role=role.value,
            action=action.value,
            weights_sha256=choice.weights_sha256,
            card_sha256=choice.card_sha256,
            version=choice.version,
            calibration_version=choice.calibration_version,
            thresholds=dict(choice.thresholds),
            actor=actor,
            why=why,
            at=now,
        )
    )
    session.flush()


def _note(
    session: Session, kind: EventKind, choice: ModelChoice, actor: str, why: str, now: datetime, **more: Any
) -> None:
    add_event(
        session,
        kind,
        actor=actor,
        at=now,
        weights_sha256=choice.weights_sha256,
        card_sha256=choice.card_sha256,
        version=choice.version,
        thresholds=dict(choice.thresholds),
        why=why,
        **more,
    )


def list_releases(database: Database) -> Sequence[ModelRelease]:
    """The whole history, oldest first."""
    with database.reading() as session:
        return list(session.scalars(select(ModelRelease).order_by(ModelRelease.id)))
