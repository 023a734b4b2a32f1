"""T08: one bad picture at any position of a batch fails by itself; its neighbours get the answers that they get alone.

On the real network. Seen to fail with a batch that ends as a whole when one of it raises, `worker.judging` without its
halving.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from core.settings import Settings
from core.states import JobState
from core.wakeup import Wakeup
from dicom_node.intake import Incoming, Intake
from dicom_node.scu import Outgoing
from model.classifier import Classifier, default_model_dir
from records.database import Database, open_database
from records.jobs import claim_jobs
from records.migrate import migrate
from records.tables import Classification, Instance, Job
from tests.faults.objects import data_set_bytes, ecg_sheet, small_object
from tests.tally import Report
from worker.decoder import Decoder
from worker.judging import judging_round
from worker.pipeline import Tools

BATCH = 4
EQUAL = 1e-5
Answers = dict[str, tuple[JobState, str | None, tuple[float, ...]]]


@pytest.fixture(scope="module")
def network() -> Classifier:
    return Classifier.load(default_model_dir(), batch_size=BATCH)


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder(Settings(demo=True)) as running:
        yield running


class _Raising:
    """The classifier, but for one picture whose corner says so: it raises, as a fault in a library would."""

    def __init__(self, real: Classifier) -> None:
        self.real, self.identity = real, real.identity

    def classify(self, pictures: Any) -> Any:
        if any(picture.rgb[:9, :9].max() == 3 for picture in pictures):
            raise FloatingPointError
        return self.real.classify(pictures)


def _raising_sheet() -> Outgoing:
    return ecg_sheet(77, corner=3)


def _damaged() -> Outgoing:
    """Its pixels are fewer than its rows and columns say."""
    return small_object(5, rows=4000)


BAD: dict[str, Callable[[], Outgoing]] = {
    "no ECG": lambda: small_object(3),
    "damaged": _damaged,
    "raises": _raising_sheet,
}


def _answers_of(objects: list[Outgoing], batch: int, folder: Path, network: Classifier, decoder: Decoder) -> Answers:
    """What each object is answered when they are taken in this order and judged in batches of this size."""
    settings = Settings(data_dir=folder, demo=True, batch_size=batch, max_attempts=1, disk_reserve_bytes=0)
    database = open_database(settings)
    migrate(database)
    wakeup = Wakeup(settings)
    intake = Intake(settings, database, wakeup)
    for one in objects:
        intake.take(
            Incoming(
                one.sop_class_uid, one.sop_instance_uid, one.sop_class_uid, one.transfer_syntax_uid,
                data_set_bytes(one), False, "CART", "ECGNODE", "127.0.0.1", "a",
            )
        )  # fmt: skip
    tools = Tools(settings, database, decoder, _Raising(network))  # type: ignore[arg-type]
    while judging_round(tools, wakeup):
        pass
    assert claim_jobs(database, "nobody", 1, 1, 1) == []
    answers = _recorded(database)
    database.close()
    return answers


def _recorded(database: Database) -> Answers:
    found: Answers = {}
    with database.reading() as session:
        query = select(Instance, Job, Classification).join(Job, Job.ecg_id == Instance.id)
        for row in session.execute(query.outerjoin(Classification, Classification.job_id == Job.id)):
            said = row.Classification
            shares: tuple[float, ...] = ()
            if said is not None and said.probability_normal is not None:
                shares = (
                    said.probability_normal,
                    said.probability_abnormal_heartbeat,
                    said.probability_myocardial_infarction,
                )
            found[row.Instance.sop_instance_uid] = (JobState(row.Job.state), said.label if said else None, shares)
    return found


@pytest.mark.parametrize(
    "kind", ["raises", *(pytest.param(k, marks=pytest.mark.faults) for k in ("no ECG", "damaged"))]
)
def test_one_bad_picture_at_any_position_changes_no_other_answer(
    kind: str, network: Classifier, decoder: Decoder, tmp_path: Path, tally: Report
) -> None:
    good = [ecg_sheet(n) for n in range(BATCH - 1)]
    alone = _answers_of(good, 1, tmp_path / "alone", network, decoder)
    assert len({shares for _state, _label, shares in alone.values()}) == len(good), "the pictures are told apart"
    for position in range(BATCH):
        bad = BAD[kind]()
        together = _answers_of(
            [*good[:position], bad, *good[position:]], BATCH, tmp_path / str(position), network, decoder
        )
        state, label, _shares = together.pop(bad.sop_instance_uid)
        assert (state, label) == (JobState.FAILED if kind == "raises" else JobState.NOT_DIAGNOSTIC, None)
        assert together.keys() == alone.keys()
        for uid, (state, label, shares) in alone.items():
            assert together[uid][:2] == (state, label)
            np.testing.assert_allclose(together[uid][2], shares, atol=EQUAL)
    tally("T08", cases=BATCH)
