"""What a model in shadow said beside the one in service, and where the two differ."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Select, and_, select

from core.states import Reason
from core.values import Label, ModelIdentity
from records.clock import database_time
from records.database import Database
from records.tables import Classification, Instance, ShadowClassification

NO_LABEL = "not_diagnostic"


@dataclass(frozen=True, slots=True)
class ShadowAnswer:
    """What a model in shadow said about one picture; `error` where it broke, then everything else is None."""

    job_id: int
    ecg_id: int
    frame: int
    label: Label | None
    reason: Reason | None
    probabilities: tuple[float, float, float] | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """One picture that the two models call differently."""

    ecg_id: int
    sop_instance_uid: str
    frame: int
    in_service: str
    in_shadow: str
    infarction_in_service: float | None
    infarction_in_shadow: float | None
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Comparison:
    """Answers of both models to the same pictures; `confusion` counts (in service, in shadow)."""

    compared: int
    same: int
    broke: int
    largest_gap: float
    confusion: dict[tuple[str, str], int]
    differences: Sequence[Difference]


def record_shadow_answers(
    database: Database, answers: Sequence[ShadowAnswer], model: ModelIdentity, card_sha256: str
) -> None:
    """Record what a model in shadow said, in a transaction of its own; what it said before of a job is kept."""
    with database.writing() as session:
        now = database_time(session)
        jobs = {answer.job_id for answer in answers}
        known = set(
            session.scalars(
                select(ShadowClassification.job_id).where(
                    ShadowClassification.job_id.in_(jobs), ShadowClassification.card_sha256 == card_sha256
                )
            )
        )
        for answer in answers:
            if answer.job_id not in known:
                session.add(_row(answer, model, card_sha256, now))


def _row(answer: ShadowAnswer, model: ModelIdentity, card_sha256: str, now: datetime) -> ShadowClassification:
    normal, abnormal, infarction = answer.probabilities or (None, None, None)
    return ShadowClassification(
        job_id=answer.job_id,
        ecg_id=answer.ecg_id,
        frame=answer.frame,
        label=answer.label.value if answer.label else None,
        reason=answer.reason.value if answer.reason else None,
        probability_normal=normal,
        probability_abnormal_heartbeat=abnormal,
        probability_myocardial_infarction=infarction,
        model=asdict(model),
        weights_sha256=model.weights_sha256,
        card_sha256=card_sha256,
        error=answer.error,
        recorded_at=now,
    )


def compare_shadow(database: Database, card_sha256: str, since: datetime | None = None, limit: int = 200) -> Comparison:
    """Where a model in shadow differs from what was in service for the same job; `limit` bounds the list alone."""
    confusion: dict[tuple[str, str], int] = {}
    differences: list[Difference] = []
    broke, largest = 0, 0.0
    with database.reading() as session:
        for row in session.execute(_pairs(card_sha256, since)).yield_per(1000):
            shadow, service = row.ShadowClassification, row.Classification
            if shadow.error is not None or service is None:
                broke += 1
                continue
            called = service.label or NO_LABEL, shadow.label or NO_LABEL
            confusion[called] = confusion.get(called, 0) + 1
            largest = max(largest, _gap(service, shadow))
            if called[0] != called[1] and len(differences) < limit:
                differences.append(_difference(service, shadow, row.sop_instance_uid, called))
    compared = sum(confusion.values())
    same = sum(count for (one, other), count in confusion.items() if one == other)
    return Comparison(compared, same, broke, largest, confusion, differences)


def _pairs(card_sha256: str, since: datetime | None) -> Select[ShadowClassification, Classification, str]:
    beside = and_(
        Classification.job_id == ShadowClassification.job_id, Classification.frame == ShadowClassification.frame
    )
    query = (
        select(ShadowClassification, Classification, Instance.sop_instance_uid)
        .join(Instance, Instance.id == ShadowClassification.ecg_id)
        .join(Classification, beside, isouter=True)
        .where(ShadowClassification.card_sha256 == card_sha256)
        .order_by(ShadowClassification.id.desc())
    )
    return query.where(ShadowClassification.recorded_at >= since) if since else query


def _gap(service: Classification, shadow: ShadowClassification) -> float:
    """Largest difference in a probability; 0 where one of the two refused the picture."""
    pairs = (
        (service.probability_normal, shadow.probability_normal),
        (service.probability_abnormal_heartbeat, shadow.probability_abnormal_heartbeat),
        (service.probability_myocardial_infarction, shadow.probability_myocardial_infarction),
    )
    return max(abs(one - other) if one is not None and other is not None else 0.0 for one, other in pairs)


def _difference(service: Classification, shadow: ShadowClassification, uid: str, called: tuple[str, str]) -> Difference:
    return Difference(
        ecg_id=shadow.ecg_id,
        sop_instance_uid=uid,
        frame=shadow.frame,
        in_service=service.label or f"{NO_LABEL} ({service.reason})",
        in_shadow=shadow.label or f"{NO_LABEL} ({shadow.reason})",
        infarction_in_service=service.probability_myocardial_infarction,
        infarction_in_shadow=shadow.probability_myocardial_infarction,
        recorded_at=shadow.recorded_at,
    )
