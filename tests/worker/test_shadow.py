"""A model in shadow that breaks is on record as broken, and raises nothing."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from core.settings import Settings
from core.values import Picture
from records.database import Database, open_database
from records.instances import record_received
from records.jobs import claim_jobs
from records.migrate import migrate
from records.results import record_answer
from records.tables import ShadowClassification
from tests.records.samples import MODEL, answer, received
from worker.pipeline import Prepared, Tools
from worker.shadow import judge_in_shadow


class _Broken:
    """Stands where a classifier stands, and breaks."""

    identity = MODEL

    def classify(self, _pictures: object) -> Any:
        raise FloatingPointError("out of its mind")


@pytest.fixture
def records(settings: Settings) -> Iterator[Database]:
    opened = open_database(settings)
    migrate(opened)
    yield opened
    opened.close()


def _prepared(database: Database) -> Prepared:
    record_received(database, received())
    (job,) = claim_jobs(database, "w", 1, 30, 3)
    record_answer(database, job, answer(), [])
    return Prepared(job, (Picture(np.zeros((8, 8, 3), np.uint8)),), None, 1.0)


def _errors(database: Database) -> list[str | None]:
    with database.reading() as session:
        return list(session.scalars(select(ShadowClassification.error)))


def test_a_shadow_that_raises_is_on_record_and_raises_nothing(settings: Settings, records: Database) -> None:
    tools = Tools(settings, records, None, None, _Broken(), "c" * 64)  # type: ignore[arg-type]
    judge_in_shadow([_prepared(records)], tools)
    assert _errors(records) == ["FloatingPointError"]


def test_a_shadow_whose_words_cannot_be_kept_raises_nothing(settings: Settings, records: Database) -> None:
    prepared = _prepared(records)
    with records.writing() as session:
        session.connection().exec_driver_sql("DROP TABLE shadow_classification")
    tools = Tools(settings, records, None, None, _Broken(), "c" * 64)  # type: ignore[arg-type]
    judge_in_shadow([prepared], tools)


def test_without_a_shadow_nothing_is_done(settings: Settings, records: Database) -> None:
    judge_in_shadow([_prepared(records)], Tools(settings, records, None, None))  # type: ignore[arg-type]
    assert _errors(records) == []
