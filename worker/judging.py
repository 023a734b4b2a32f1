"""A round of judging: claim, judge as a batch, and set aside what breaks it."""

import traceback
from collections.abc import Callable, Sequence

import structlog

from core.errors import Rejected, Unavailable
from core.wakeup import Wakeup
from records.jobs import ClaimedJob, LostLease, claim_jobs, fail_job, retry_job, return_job
from records.processes import process_id
from worker.pipeline import Prepared, Tools, judge
from worker.related import Turn, find_turn
from worker.shadow import judge_in_shadow

_log = structlog.get_logger(__name__)
_RETRY_S = 5.0
_WAIT_S = 3.0  # until it is looked again whether a waveform came


def judging_round(tools: Tools, wakeup: Wakeup) -> int:
    """Claim a batch and judge it; how many jobs were claimed. Raises DatabaseAway."""
    settings = tools.settings
    jobs = claim_jobs(tools.database, process_id("work"), settings.batch_size, settings.lease_s, settings.max_attempts)
    if jobs:
        judged = _judge_or_halve(_without_waiting(jobs, tools), tools)
        wakeup.wake_senders()
        judge_in_shadow(judged, tools)
    return len(jobs)


def _without_waiting(jobs: Sequence[ClaimedJob], tools: Tools) -> list[ClaimedJob]:
    """The jobs that can be judged now; those that wait for the waveform of their ECG are given back."""
    ready = []
    for job in jobs:
        if find_turn(job, tools.settings, tools.database) is Turn.WAIT:
            _unless_lost(return_job, tools.database, job, _WAIT_S)
        else:
            ready.append(job)
    return ready


def _judge_or_halve(jobs: Sequence[ClaimedJob], tools: Tools) -> list[Prepared]:
    """Judge a batch; one that raises is halved down to the job that breaks it, so that its neighbours are judged."""
    if not jobs:
        return []
    try:
        return judge(jobs, tools)
    except Unavailable as error:
        _log.warning("jobs_returned", jobs=[job.job_id for job in jobs], why=str(error))
        for job in jobs:
            _unless_lost(return_job, tools.database, job, _RETRY_S)
    except Exception as error:  # noqa: BLE001 - the worker's edge: whatever one picture raises must not stop the others
        if len(jobs) > 1:
            middle = len(jobs) // 2
            return _judge_or_halve(jobs[:middle], tools) + _judge_or_halve(jobs[middle:], tools)
        _set_aside(jobs[0], tools, error)
    return []


def _set_aside(job: ClaimedJob, tools: Tools, error: Exception) -> None:
    if isinstance(error, LostLease):
        _log.warning("answer_thrown_away", job=job.job_id, why=str(error))
        return
    # The message of a foreign exception may hold text of the sender; its type says enough for a log
    why = str(error) if isinstance(error, Rejected) else f"judging raised {type(error).__name__}"
    _log.error("judging_raised", job=job.job_id, ecg=job.ecg_id, attempt=job.attempt, why=why, where=_where(error))
    if isinstance(error, Rejected):
        _unless_lost(fail_job, tools.database, job, why)
    else:
        _unless_lost(retry_job, tools.database, job, why, _RETRY_S, tools.settings.max_attempts)


def _where(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{last.filename}:{last.lineno} {last.name}"


def _unless_lost(act: Callable[..., None], *given: object) -> None:
    try:
        act(*given)
    except LostLease as error:
        _log.warning("lease_lost", why=str(error))
