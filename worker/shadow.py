"""A model in shadow judges what was just answered; it is recorded, never reported, and can hurt no answer."""

from collections.abc import Sequence

import structlog

from core.errors import DatabaseAway
from records.shadow import ShadowAnswer, record_shadow_answers
from worker.pipeline import Prepared, Tools

_log = structlog.get_logger(__name__)


def judge_in_shadow(prepared: Sequence[Prepared], tools: Tools) -> None:
    """Record what the model in shadow says of pictures whose answers are on record already, if that can be done now."""
    if tools.shadow is None or not prepared:
        return
    answers = _answers_or_error(prepared, tools)
    try:
        record_shadow_answers(tools.database, answers, tools.shadow.identity, tools.shadow_card_sha256)
    except DatabaseAway as error:
        _log.error("shadow_not_recorded", why=str(error))


def _answers_or_error(prepared: Sequence[Prepared], tools: Tools) -> list[ShadowAnswer]:
    try:
        return _answers(prepared, tools)
    except Exception as error:  # noqa: BLE001 - the model's edge: whatever one that is on trial raises is its answer
        _log.error("shadow_raised", error=type(error).__name__)
        return [_broken(one, type(error).__name__) for one in prepared]


def _answers(prepared: Sequence[Prepared], tools: Tools) -> list[ShadowAnswer]:
    assert tools.shadow is not None
    judgements = iter(tools.shadow.classify([picture for one in prepared for picture in one.pictures]))
    return [
        ShadowAnswer(
            one.job.job_id,
            one.job.ecg_id,
            picture.frame or 1,
            judgement.label,
            judgement.reason,
            judgement.probabilities,
        )
        for one in prepared
        for picture, judgement in zip(one.pictures, judgements)  # noqa: B905 - the judgements go on in the next job
    ]


def _broken(one: Prepared, error: str) -> ShadowAnswer:
    return ShadowAnswer(one.job.job_id, one.job.ecg_id, 1, None, None, None, error)
