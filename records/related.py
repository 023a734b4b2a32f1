"""Objects that show one ECG: of the same study and patient, recorded in the same second."""

import re
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.states import JobState
from records.database import Database
from records.tables import Disposition, Instance, Job

_SECOND = re.compile(r"\d{14}")  # DT and DA + TM begin alike: YYYYMMDDHHMMSS (PS3.5 6.2)


@dataclass(frozen=True, slots=True)
class RelatedObject:
    """Another object of the same ECG, and how its latest job stands."""

    ecg_id: int
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    state: JobState | None
    reason: str | None


def is_same_ecg(one: Instance, other: Instance) -> bool:
    """Whether two instances show one ECG. Without a time of acquisition that says the second, nobody can tell."""
    moment = _moment(one)
    return (
        moment is not None
        and moment == _moment(other)
        and (one.study_instance_uid, one.patient_id) == (other.study_instance_uid, other.patient_id)
    )


def _moment(instance: Instance) -> str | None:
    found = _SECOND.match(instance.acquisition_datetime)
    return found[0] if found else None


def find_related(database: Database, ecg_id: int) -> list[RelatedObject] | None:
    """The other accepted objects of an ECG, oldest first; None where the ECG has no time to find them by."""
    with database.reading() as session:
        instance = session.get_one(Instance, ecg_id)
        if _moment(instance) is None:
            return None
        others = session.scalars(
            select(Instance)
            .where(
                Instance.study_instance_uid == instance.study_instance_uid,
                Instance.disposition == Disposition.ACCEPTED.value,
                Instance.id != ecg_id,
            )
            .order_by(Instance.id)
        )
        return [_related(session, one) for one in others if is_same_ecg(one, instance)]


def _related(session: Session, instance: Instance) -> RelatedObject:
    job = session.scalars(select(Job).where(Job.ecg_id == instance.id).order_by(Job.id.desc()).limit(1)).first()
    return RelatedObject(
        ecg_id=instance.id,
        sop_class_uid=instance.sop_class_uid,
        sop_instance_uid=instance.sop_instance_uid,
        series_instance_uid=instance.series_instance_uid,
        study_instance_uid=instance.study_instance_uid,
        state=JobState(job.state) if job else None,
        reason=job.reason if job else None,
    )
