"""Which model holds is a history; a re-analysis adds to what was said and replaces nothing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from core.errors import Rejected
from core.states import JobState, Reason, ReportKind
from core.values import Label
from records.audit import verify_trail
from records.database import Database
from records.instances import record_received
from records.jobs import ClaimedJob, claim_jobs, fail_job
from records.models import (
    Chosen,
    ModelChoice,
    find_chosen,
    list_releases,
    list_service_stack,
    record_release,
    record_rollback,
    record_shadow,
)
from records.reanalysis import Selection, find_earlier_reports, is_superseded, queue_reanalysis
from records.results import Route, record_answer
from records.shadow import ShadowAnswer, compare_shadow, record_shadow_answers
from records.tables import Job
from tests.records.samples import MODEL, answer, received

START, ONE, TWO = (ModelChoice(n * 64, n * 64, n, n, {"confidence": 0.5}) for n in ("0", "1", "2"))
SERVED = ModelChoice(MODEL.weights_sha256, "c" * 64, MODEL.version, MODEL.calibration_version, {})
EVERYTHING = Selection(since=datetime(2000, 1, 1, tzinfo=UTC))


def _claim(database: Database) -> ClaimedJob:
    (job,) = claim_jobs(database, "w", 1, 30, 3)
    return job


def _answered(database: Database, **changes: object) -> int:
    ecg_id = record_received(database, received(**changes)).ecg_id
    record_answer(database, _claim(database), answer(), [])
    return ecg_id


def test_releases_lie_on_each_other_and_a_rollback_takes_the_last_away(database: Database) -> None:
    assert find_chosen(database) == Chosen(None, None)
    assert record_release(database, ONE, START, "admin", "better") == START
    assert record_release(database, TWO, START, "admin", "better still") == ONE
    with pytest.raises(Rejected, match="already"):
        record_release(database, TWO, START, "admin", "again")
    assert find_chosen(database).service == TWO
    assert record_rollback(database, "admin", "worse") == ONE
    assert record_release(database, TWO, START, "admin", "it was the cart") == ONE
    assert [record_rollback(database, "admin", "no"), record_rollback(database, "admin", "no")] == [ONE, START]
    with pytest.raises(Rejected, match="nothing to roll back to"):
        record_rollback(database, "admin", "no")
    assert find_chosen(database).service == START
    assert list_service_stack(database) == [START]
    assert len(list_releases(database)) == 7
    assert verify_trail(database).fault is None


def test_a_shadow_comes_and_goes_without_touching_what_is_in_service(database: Database) -> None:
    record_release(database, ONE, START, "admin", "better")
    record_shadow(database, TWO, "admin", "is it better?")
    assert find_chosen(database) == Chosen(ONE, TWO)
    record_shadow(database, None, "admin", "no")
    assert find_chosen(database) == Chosen(ONE, None)


def test_the_comparison_counts_and_names_where_two_models_differ(database: Database) -> None:
    ecgs = [_answered(database) for _ in range(4)]
    with database.reading() as session:
        jobs = {row.ecg_id: row.id for row in session.scalars(select(Job))}
    said = [
        ShadowAnswer(jobs[ecgs[0]], ecgs[0], 1, Label.NORMAL, None, (0.8, 0.1, 0.1)),
        ShadowAnswer(jobs[ecgs[1]], ecgs[1], 1, Label.MYOCARDIAL_INFARCTION, None, (0.1, 0.1, 0.8)),
        ShadowAnswer(jobs[ecgs[2]], ecgs[2], 1, None, Reason.UNCERTAIN, (0.4, 0.3, 0.3)),
        ShadowAnswer(jobs[ecgs[3]], ecgs[3], 1, None, None, None, "ValueError"),
    ]
    for _ in range(2):
        record_shadow_answers(database, said, MODEL, "c" * 64)
    record_shadow_answers(database, said[:1], MODEL, "d" * 64)
    found = compare_shadow(database, "c" * 64)
    assert (found.compared, found.same, found.broke) == (3, 1, 1)
    assert found.confusion == {
        ("normal", "normal"): 1,
        ("normal", "myocardial_infarction"): 1,
        ("normal", "not_diagnostic"): 1,
    }
    assert [one.ecg_id for one in found.differences] == [ecgs[2], ecgs[1]]
    assert found.largest_gap == pytest.approx(0.8)
    assert compare_shadow(database, "c" * 64, datetime.now(UTC) + timedelta(days=1)).compared == 0


def test_the_past_is_queued_once_for_a_model_and_behind_everything_new(database: Database) -> None:
    old = [_answered(database, stat=True) for _ in range(3)]
    waiting = record_received(database, received()).ecg_id
    assert queue_reanalysis(database, EVERYTHING, ONE, "admin", "new model", dry_run=True).queued == 3
    first = queue_reanalysis(database, EVERYTHING, ONE, "admin", "new model")
    assert (first.queued, first.waiting) == (3, 1)
    again = queue_reanalysis(database, EVERYTHING, ONE, "admin", "new model")
    assert (again.queued, again.waiting) == (0, 4)
    fresh = record_received(database, received(stat=True)).ecg_id
    jobs = claim_jobs(database, "w", 10, 30, 3)
    assert [job.ecg_id for job in jobs] == [fresh, waiting, *old]
    assert queue_reanalysis(database, Selection(sop_instance_uids=("9.9",)), ONE, "admin", "x").queued == 0


def test_what_the_model_has_said_already_is_not_asked_again_but_a_failed_job_is(database: Database) -> None:
    _answered(database)
    assert queue_reanalysis(database, EVERYTHING, SERVED, "admin", "x").answered_by_it == 1
    record_received(database, received())
    fail_job(database, _claim(database), "the worker died")
    assert queue_reanalysis(database, EVERYTHING, SERVED, "admin", "x").queued == 1
    fail_job(database, _claim(database), "the worker died")
    assert queue_reanalysis(database, EVERYTHING, SERVED, "admin", "x").queued == 1


def test_a_re_analysis_is_superseded_only_by_an_answer_of_the_very_model(database: Database) -> None:
    ecg_id = _answered(database)
    served = SERVED.weights_sha256, SERVED.calibration_version
    assert is_superseded(database, ecg_id, "reanalysis:1", *served)
    assert not is_superseded(database, ecg_id, "reanalysis:1", SERVED.weights_sha256, "other calibration")
    assert not is_superseded(database, ecg_id, "first", *served)


def test_a_re_analysis_finds_the_reports_of_the_last_answer_and_a_first_one_none(database: Database) -> None:
    ecg_id = record_received(database, received()).ecg_id
    first = _claim(database)
    assert find_earlier_reports(database, ecg_id, first.job_id) == []
    said = answer()
    record_answer(database, first, said, [Route("pacs", frozenset(ReportKind), "comprehensive")])
    queue_reanalysis(database, EVERYTHING, ONE, "admin", "x")
    job = _claim(database)
    found = {one.sr_class: one.sop_instance_uid for one in find_earlier_reports(database, ecg_id, job.job_id)}
    assert found == {one.sr_class: one.sop_instance_uid for one in said.reports if one.kind is ReportKind.SR}
    failed = replace(answer(), reports=[], state=JobState.DONE)
    record_answer(database, job, failed, [])
    queue_reanalysis(database, EVERYTHING, TWO, "admin", "x")
    later = find_earlier_reports(database, ecg_id, _claim(database).job_id)
    assert {one.sop_instance_uid for one in later} == set(found.values())
