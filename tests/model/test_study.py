"""What a study says of out-of-fold answers is counted from them.

Seen to fail: with infarctions of every kind counted together; with offsets added twice; with one calibration for all.
"""

from pathlib import Path

import numpy as np
import pytest

from model.compare import OutOfFold
from model.dataset import Exam, fold_of
from model.labels import LABELS, index_of
from model.study import calibrate, calibrated_apart, figures, shifted

CALIBRATION = {
    "temperature": 1.0,
    "confidence": 0.5,
    "offset_abnormal_heartbeat": 0.0,
    "offset_myocardial_infarction": 0.0,
}


def exam(number: int, label: str, detail: str = "", kind: str = "signal") -> Exam:
    return Exam(f"{kind}/{label}{number}", kind, Path("none"), label, "drawn", detail)  # type: ignore[arg-type]


def out_of_fold(answers: list[tuple[Exam, int]], sure: float = 4.0) -> OutOfFold:
    """Each exam with what its network said, `sure` logits above the rest."""
    exams = [one for one, _said in answers]
    logits = sure * np.eye(len(LABELS), dtype=np.float32)[[said for _one, said in answers]]
    truth = np.array([-1 if (index := index_of(one.label)) is None else index for one in exams])
    return OutOfFold(exams, logits, truth)


def test_infarctions_are_counted_by_kind_and_old_ones_apart() -> None:
    run = out_of_fold(
        [(exam(n, "normal", kind=kind), 0) for n in range(8) for kind in ("sheet", "signal")]
        + [(exam(n, "abnormal_heartbeat", kind=kind), 1) for n in range(8) for kind in ("sheet", "signal")]
        + [(exam(n, "myocardial_infarction", "MI_acute_STEMI"), 2) for n in range(3)]
        + [(exam(n, "myocardial_infarction", "MI_old_scar"), 0 if n == 3 else 2) for n in range(3, 5)]
        + [(exam(n, "myocardial_infarction", "", "sheet"), 2 if n < 6 else 1) for n in range(8)]
        + [(exam(n, "history_of_mi", kind="sheet"), int(n > 0)) for n in range(4)]
    )
    found = figures(run, CALIBRATION)
    kinds = found["mi_by_kind"]["signals"]
    assert {kind: (one["found"]["count"], one["found"]["of"]) for kind, one in kinds.items()} == {
        "acute": (3, 3),
        "old": (1, 2),
    }
    assert kinds["old"]["called_normal"]["count"] == 1
    assert found["mi_by_kind"]["sheets"]["unstated"]["found"]["count"] == 6
    assert (found["history_called_normal"]["count"], found["history_called_normal"]["of"]) == (1, 4)


def test_an_answer_below_the_least_confidence_is_no_answer() -> None:
    run = out_of_fold([(exam(n, "normal", kind=kind), 0) for n in range(4) for kind in ("sheet", "signal")], sure=0.1)
    assert figures(run, CALIBRATION)["sheets"]["abstained"]["value"] == 1.0


def test_calibration_cools_what_is_too_sure() -> None:
    rng = np.random.default_rng(1)
    answers = []
    for number in range(600):
        label = LABELS[number % 3].value
        said = number % 3 if rng.random() < 0.8 else (number + 1) % 3
        answers.append((exam(number, label, kind="sheet" if number % 2 else "signal"), said))
    calibration = calibrate(out_of_fold(answers, sure=9.0))
    assert calibration["temperature"] > 2
    moved = shifted(out_of_fold(answers), calibration).logits - out_of_fold(answers).logits
    assert moved[0] == pytest.approx(
        [0.0, calibration["offset_abnormal_heartbeat"], calibration["offset_myocardial_infarction"]], abs=1e-6
    )


def test_a_fold_is_not_judged_by_its_own_calibration() -> None:
    """One fold's answers are wrong and very sure: only the calibration of the others abstains from none of them."""
    rng = np.random.default_rng(2)
    answers = []
    for number in range(600):
        one = exam(number, LABELS[number % 3].value, kind="sheet" if number % 2 else "signal")
        wrong = fold_of(one, 5) == 0 or rng.random() < 0.02
        answers.append((one, (number + 1) % 3 if wrong else number % 3))
    run = out_of_fold(answers, sure=9.0)
    apart = calibrated_apart(run)["sheets"]["abstained"]["count"]
    own = figures(shifted(run, calibrate(run)), calibrate(run))["sheets"]["abstained"]["count"]
    assert apart < own
