"""Jobs are claimed once, lose their claim when the worker is silent, and end once."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from core.states import JobState
from records.database import Database
from records.instances import record_received
from records.jobs import LostLease, claim_jobs, fail_job, renew_lease, retry_job, return_job
from records.results import record_answer
from records.tables import Job
from tests.records.samples import answer, received


def _let_leases_run_out(database: Database) -> None:
    """Leases are measured with the database's clock, so the test moves them rather than the clock."""
    with database.writing() as session:
        past = "'2000-01-01 00:00:00.000000'"
        session.execute(text(f"UPDATE job SET lease_until = {past} WHERE state = 'running'"))


def _state(database: Database, job_id: int) -> tuple[str, str | None]:
    with database.reading() as session:
        job = session.get_one(Job, job_id)
        return job.state, job.reason


def _queue(database: Database, **changes: object) -> int:
    job_id = record_received(database, received(**changes)).job_id
    assert job_id is not None
    return job_id


def test_stat_comes_first_then_the_oldest(database: Database) -> None:
    first, second, stat = _queue(database), _queue(database), _queue(database, stat=True)
    assert [job.job_id for job in claim_jobs(database, "w", 10, 30, 3)] == [stat, first, second]


def test_a_claimed_job_is_not_claimed_again_while_its_lease_holds(database: Database) -> None:
    _queue(database)
    assert len(claim_jobs(database, "one", 10, 30, 3)) == 1
    assert claim_jobs(database, "two", 10, 30, 3) == []


def test_eight_workers_claim_each_job_once(database: Database) -> None:
    jobs = [_queue(database) for _ in range(24)]

    def claim_all(worker: int) -> list[int]:
        mine: list[int] = []
        while claimed := claim_jobs(database, f"w{worker}", 2, 60, 3):
            mine += [job.job_id for job in claimed]
        return mine

    with ThreadPoolExecutor(8) as pool:
        claimed = [job for mine in pool.map(claim_all, range(8)) for job in mine]
    assert sorted(claimed) == sorted(jobs)


def test_a_done_job_is_never_claimed_again(database: Database) -> None:
    job_id = _queue(database)
    (job,) = claim_jobs(database, "w", 1, 30, 3)
    record_answer(database, job, answer(), [])
    _let_leases_run_out(database)
    assert claim_jobs(database, "other", 10, 30, 3) == []
    assert _state(database, job_id)[0] == JobState.DONE


def test_an_answer_after_the_lease_was_taken_over_is_thrown_away(database: Database) -> None:
    _queue(database)
    (frozen,) = claim_jobs(database, "frozen", 1, 30, 3)
    _let_leases_run_out(database)
    (taken,) = claim_jobs(database, "other", 1, 30, 3)
    with pytest.raises(LostLease):
        record_answer(database, frozen, answer(), [])
    with pytest.raises(LostLease):
        renew_lease(database, frozen, 30)
    record_answer(database, taken, answer(), [])


def test_a_job_that_was_tried_before_is_claimed_alone(database: Database) -> None:
    first, second = _queue(database), _queue(database)
    claim_jobs(database, "dies", 1, 30, 3)
    _let_leases_run_out(database)
    assert [job.job_id for job in claim_jobs(database, "next", 10, 30, 3)] == [first]
    assert [job.job_id for job in claim_jobs(database, "next", 10, 30, 3)] == [second]


def test_a_job_whose_workers_die_ends_as_failed_after_the_last_attempt(database: Database) -> None:
    job_id = _queue(database)
    for attempt in (1, 2, 3):
        (job,) = claim_jobs(database, "dies", 1, 30, 3)
        assert job.attempt == attempt
        _let_leases_run_out(database)
    assert claim_jobs(database, "next", 1, 30, 3) == []
    state, reason = _state(database, job_id)
    assert state == JobState.FAILED
    assert reason == "the worker died or hung 3 times while judging this ECG"


def test_a_job_put_back_waits_and_fails_at_the_last_attempt(database: Database) -> None:
    job_id = _queue(database)
    (job,) = claim_jobs(database, "w", 1, 30, 2)
    retry_job(database, job, "the decoder died", 3600, 2)
    assert claim_jobs(database, "w", 1, 30, 2) == []
    with database.writing() as session:
        session.execute(text("UPDATE job SET not_before = created_at"))
    (job,) = claim_jobs(database, "w", 1, 30, 2)
    retry_job(database, job, "the decoder died again", 3600, 2)
    assert _state(database, job_id) == (JobState.FAILED, "the decoder died again")


def test_a_job_returned_at_a_shutdown_loses_no_attempt(database: Database) -> None:
    _queue(database)
    (job,) = claim_jobs(database, "w", 1, 30, 3)
    return_job(database, job)
    (again,) = claim_jobs(database, "w", 1, 30, 3)
    assert again.attempt == 1


def test_a_failed_job_says_why(database: Database) -> None:
    job_id = _queue(database)
    (job,) = claim_jobs(database, "w", 1, 30, 3)
    fail_job(database, job, "because")
    assert _state(database, job_id) == (JobState.FAILED, "because")
