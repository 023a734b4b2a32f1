"""Jobs: claimed from the database with a lease, a fence and a counted attempt.

The lease says until when a claim holds; the fence says which claim may still write. A worker that was frozen past its
lease finds its fence outdated, and what it computed is thrown away.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import CursorResult, Select, and_, func, or_, select, update
from sqlalchemy.orm import Session

from core.errors import Rejected
from core.states import EventKind, JobState
from records.clock import database_time
from records.database import Database
from records.tables import Instance, Job
from records.trail import add_event


class LostLease(Rejected):
    """Another worker holds the job now; this one's work is thrown away."""


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job that this worker may work on until its lease ends."""

    job_id: int
    ecg_id: int
    request: str
    fence: int
    attempt: int
    stat: bool
    path: str
    file_sha256: str
    content_sha256: str
    sop_class_uid: str
    association_id: str
    received_at: datetime
    calling_ae_title: str = ""
    modality: str = ""
    study_description: str = ""


def claim_jobs(database: Database, owner: str, limit: int, lease_s: float, max_attempts: int) -> list[ClaimedJob]:
    """Claim up to `limit` jobs, STAT first, then by priority, then the oldest.

    A job with an earlier attempt is claimed alone, so that a picture that kills the process fails by itself. Jobs whose
    lease ran out at their last attempt end as failed. Raises DatabaseAway.
    """
    with database.writing() as session:
        now = database_time(session)
        _fail_exhausted(session, now, max_attempts)
        found = session.execute(_claimable(now, limit)).all()
        chosen = _alone_or_together([(row.Job, row.Instance) for row in found])
        claimed = []
        for job, instance in chosen:
            job.state = JobState.RUNNING.value
            job.owner, job.fence, job.attempt = owner, job.fence + 1, job.attempt + 1
            job.lease_until, job.started_at = now + timedelta(seconds=lease_s), now
            claimed.append(_claimed(job, instance))
            add_event(
                session,
                EventKind.JOB_CLAIMED,
                actor=owner,
                at=now,
                ecg_id=job.ecg_id,
                job_id=job.id,
                attempt=job.attempt,
                fence=job.fence,
            )
        return claimed


def _claimable(now: datetime, limit: int) -> Select[Job, Instance]:
    waiting = and_(Job.state == JobState.QUEUED.value, Job.not_before <= now)
    abandoned = and_(Job.state == JobState.RUNNING.value, Job.lease_until < now)
    return (
        select(Job, Instance)
        .join(Instance, Instance.id == Job.ecg_id)
        .where(or_(waiting, abandoned))
        .order_by(Job.stat.desc(), Job.priority, Job.id)
        .limit(limit)
        .with_for_update(of=Job, skip_locked=True)
    )


def _alone_or_together(found: list[tuple[Job, Instance]]) -> list[tuple[Job, Instance]]:
    if found and found[0][0].attempt > 0:
        return found[:1]
    return [pair for pair in found if pair[0].attempt == 0]


def _fail_exhausted(session: Session, now: datetime, max_attempts: int) -> None:
    exhausted = session.scalars(
        select(Job)
        .where(Job.state == JobState.RUNNING.value, Job.lease_until < now, Job.attempt >= max_attempts)
        .with_for_update(skip_locked=True)
    )
    for job in exhausted:
        reason = f"the worker died or hung {job.attempt} times while judging this ECG"
        _end(job, JobState.FAILED, reason, now)
        add_event(
            session, EventKind.JOB_FAILED, actor="reconciler", at=now, ecg_id=job.ecg_id, job_id=job.id, reason=reason
        )


def _end(job: Job, state: JobState, reason: str | None, now: datetime) -> None:
    job.state, job.reason, job.ended_at = state.value, reason, now
    job.lease_until, job.owner, job.fence = None, None, job.fence + 1


def _claimed(job: Job, instance: Instance) -> ClaimedJob:
    return ClaimedJob(
        job_id=job.id,
        ecg_id=job.ecg_id,
        request=job.request,
        fence=job.fence,
        attempt=job.attempt,
        stat=job.stat,
        path=instance.path,
        file_sha256=instance.file_sha256,
        content_sha256=instance.content_sha256,
        sop_class_uid=instance.sop_class_uid,
        association_id=instance.association_id,
        received_at=instance.received_at,
        calling_ae_title=instance.calling_ae_title,
        modality=instance.modality,
        study_description=instance.study_description,
    )


def renew_lease(database: Database, job: ClaimedJob, lease_s: float) -> None:
    """Say that the job is still being worked on. Raises LostLease when somebody else claimed it."""
    with database.writing() as session:
        until = database_time(session) + timedelta(seconds=lease_s)
        _fenced(session, job, lease_until=until)


def end_job(session: Session, job: ClaimedJob, state: JobState, reason: str | None, now: datetime) -> None:
    """End a claimed job inside the caller's transaction. Raises LostLease: roll back and forget the result."""
    _fenced(
        session, job, state=state.value, reason=reason, ended_at=now, lease_until=None, owner=None, fence=job.fence + 1
    )


def fail_job(database: Database, job: ClaimedJob, reason: str) -> None:
    """End a job as failed, for a reason that trying again would not change."""
    with database.writing() as session:
        now = database_time(session)
        end_job(session, job, JobState.FAILED, reason, now)
        add_event(
            session, EventKind.JOB_FAILED, actor="worker", at=now, ecg_id=job.ecg_id, job_id=job.job_id, reason=reason
        )


def retry_job(database: Database, job: ClaimedJob, why: str, delay_s: float, max_attempts: int) -> None:
    """Put a job back for a later attempt; at the last one it ends as failed."""
    if job.attempt >= max_attempts:
        fail_job(database, job, why)
        return
    with database.writing() as session:
        now = database_time(session)
        later = now + timedelta(seconds=delay_s)
        _fenced(
            session,
            job,
            state=JobState.QUEUED.value,
            lease_until=None,
            owner=None,
            not_before=later,
            fence=job.fence + 1,
        )
        add_event(session, EventKind.JOB_RETRIED, actor="worker", at=now, ecg_id=job.ecg_id, job_id=job.job_id, why=why)


def return_job(database: Database, job: ClaimedJob, delay_s: float = 0.0) -> None:
    """Give back a job that could not be worked on for no fault of its own: the attempt is not counted."""
    with database.writing() as session:
        _fenced(
            session,
            job,
            state=JobState.QUEUED.value,
            lease_until=None,
            owner=None,
            attempt=job.attempt - 1,
            not_before=database_time(session) + timedelta(seconds=delay_s),
            fence=job.fence + 1,
        )


def _fenced(session: Session, job: ClaimedJob, **values: object) -> None:
    result = session.execute(
        update(Job)
        .where(Job.id == job.job_id, Job.fence == job.fence, Job.state == JobState.RUNNING.value)
        .values(**values)
    )
    assert isinstance(result, CursorResult)
    if result.rowcount == 0:
        raise LostLease(f"job {job.job_id}: its lease ran out and another worker has it; this answer is thrown away")


def find_oldest_claim(database: Database) -> datetime | None:
    """When the oldest claim that still stands was made."""
    with database.reading() as session:
        running = Job.state == JobState.RUNNING.value
        return session.scalar(select(Job.started_at).where(running).order_by(Job.started_at).limit(1))


def count_waiting(database: Database) -> int:
    """Jobs that are queued or running."""
    with database.reading() as session:
        states = (JobState.QUEUED.value, JobState.RUNNING.value)
        return session.scalar(select(func.count()).select_from(Job).where(Job.state.in_(states))) or 0
