"""Figures of a set of judgements, with 95 % intervals; numpy only."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.labels import LABELS
from model.metrics import auroc, bootstrap, calibration_error, f1_by_label, wilson

MI = 2
ABSTAINED = -1
_RESAMPLES = 500


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """What was true and what was said of some exams: `said` is -1 where the model abstained or refused.

    `probabilities` (exams, labels) are uniform where a gate refused.
    """

    truth: NDArray[np.int64]
    said: NDArray[np.int64]
    probabilities: NDArray[np.float64]

    def take(self, rows: NDArray[Any]) -> "Said":
        return Said(self.truth[rows], self.said[rows], self.probabilities[rows])


def macro_f1(one: Said) -> float:
    """Mean F1 of the labels that occur; an abstention counts as not found."""
    present = np.unique(one.truth)
    return float(f1_by_label(one.truth, one.said, len(LABELS))[present].mean()) if len(present) else float("nan")


def mi_auroc(one: Said) -> float:
    """Infarction against every other label."""
    return auroc(one.truth == MI, one.probabilities[:, MI])


def mi_auroc_against_normal(one: Said) -> float:
    two = one.take(one.truth != 1)
    score = np.log(two.probabilities[:, MI] + 1e-12) - np.log(two.probabilities[:, 0] + 1e-12)
    return auroc(two.truth == MI, score)


def with_interval(measure: Any, one: Said, seed: int = 1) -> dict[str, Any]:
    """A measure with its bootstrap interval over exams; None where the exams lack a label that it needs."""
    value = measure(one)
    if math.isnan(value):
        return {"value": None, "interval_95": None}
    rng = np.random.default_rng(seed)
    resampled = [measure(one.take(rng.integers(0, len(one.truth), len(one.truth)))) for _ in range(_RESAMPLES)]
    return {"value": round(value, 4), "interval_95": [round(edge, 4) for edge in bootstrap(resampled)]}


def share(successes: int, trials: int) -> dict[str, Any]:
    """A proportion with counts and Wilson interval."""
    low, high = wilson(successes, trials)
    value = round(successes / trials, 4) if trials else None
    return {"value": value, "count": successes, "of": trials, "interval_95": [round(low, 4), round(high, 4)]}


def describe(one: Said) -> dict[str, Any]:
    """Everything about one set of exams whose labels the network knows."""
    if not len(one.truth):
        return {"exams": 0}
    right = one.said == one.truth
    judged = one.said != ABSTAINED
    confidence = one.probabilities.max(axis=1)
    correct = one.probabilities.argmax(axis=1) == one.truth
    return {
        "exams": len(one.truth),
        "accuracy": share(int(right.sum()), len(right)),
        "macro_f1": with_interval(macro_f1, one),
        "abstained": share(int((~judged).sum()), len(judged)),
        "recall": {label.value: _recall(one, index) for index, label in enumerate(LABELS)},
        "specificity_mi": share(int(((one.truth != MI) & (one.said != MI)).sum()), int((one.truth != MI).sum())),
        "auroc": {
            label.value: with_interval(lambda some, index=index: _auroc_of(some, index), one)
            for index, label in enumerate(LABELS)
        },
        "auroc_mi_against_normal": with_interval(mi_auroc_against_normal, one),
        "confusion": [
            [int(((one.truth == t) & (one.said == s)).sum()) for s in (0, 1, 2, -1)] for t in range(len(LABELS))
        ],
        "brier": round(float(((one.probabilities - np.eye(len(LABELS))[one.truth]) ** 2).sum(axis=1).mean()), 4),
        "ece_10_equal_mass": round(calibration_error(confidence, correct), 4),
        "ece_of_a_perfect_model": round(_perfect_ece(one.probabilities), 4),
        "coverage_at_error": {str(risk): coverage(confidence, correct, risk) for risk in (0.01, 0.05)},
    }


def confusion(one: Said) -> list[list[int]]:
    """Counts: a row for each true label, a column for each answer and one for abstention."""
    answers = (*range(len(LABELS)), ABSTAINED)
    return [[int(((one.truth == true) & (one.said == said)).sum()) for said in answers] for true in range(len(LABELS))]


def _recall(one: Said, label: int) -> dict[str, Any]:
    mine = one.truth == label
    return share(int((one.said[mine] == label).sum()), int(mine.sum()))


def _auroc_of(one: Said, label: int) -> float:
    return auroc(one.truth == label, one.probabilities[:, label])


def _perfect_ece(probabilities: NDArray[np.float64], draws: int = 200) -> float:
    """What the calibration error would be, on average, were every probability exactly true."""
    rng = np.random.default_rng(1)
    confidence = probabilities.max(axis=1)
    return float(
        np.mean([calibration_error(confidence, rng.random(len(confidence)) < confidence) for _ in range(draws)])
    )


def coverage(confidence: NDArray[np.float64], correct: NDArray[np.bool_], risk: float) -> float:
    """Largest share of exams that can be answered, surest first, with at most this share of errors among them."""
    order = np.argsort(-confidence, kind="stable")
    errors = np.cumsum(~correct[order]) / np.arange(1, len(order) + 1)
    within = np.flatnonzero(errors <= risk)
    return round(float((within[-1] + 1) / len(order)), 4) if len(within) else 0.0


def risk_curve(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Coverage and error among the answered, surest first."""
    order = np.argsort(-confidence, kind="stable")
    counted = np.arange(1, len(order) + 1)
    return counted / max(1, len(order)), np.cumsum(~correct[order]) / counted
