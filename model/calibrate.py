"""Temperature and abstention threshold from judgements of networks that never saw the exam.

Guo et al. 2017 (temperature); Geifman and El-Yaniv 2017 (abstention for a stated risk).
"""

import numpy as np
from numpy.typing import NDArray

from model.metrics import f1_by_label

TEMPERATURES = np.exp(np.linspace(np.log(0.2), np.log(5.0), 161))
WEIGHT = 0.5  # of one rate, beside a macro F1
LEAST_CONFIDENCE = 0.4  # a third is chance among three labels


def fit_temperature(logits: NDArray[np.floating], truth: NDArray[np.int64]) -> float:
    """The temperature of least log loss; `logits` (exams, labels) out of fold."""
    return float(TEMPERATURES[int(np.argmin([_log_loss(logits / one, truth) for one in TEMPERATURES]))])


def _log_loss(logits: NDArray[np.floating], truth: NDArray[np.int64]) -> float:
    raised = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    log_p = raised - np.log(np.exp(raised).sum(axis=1, keepdims=True))
    return float(-log_p[np.arange(len(truth)), truth].mean())


def threshold_for(confidence: NDArray[np.floating], correct: NDArray[np.bool_], risk: float) -> float:
    """Least confidence above which at most this share of answers is wrong; never below `LEAST_CONFIDENCE`."""
    order = np.argsort(-confidence, kind="stable")
    errors = np.cumsum(~correct[order]) / np.arange(1, len(order) + 1)
    within = np.flatnonzero(errors <= risk)
    return max(LEAST_CONFIDENCE, float(confidence[order][within[-1]]) if len(within) else 1.0)


def choose_offsets(
    logits: NDArray[np.floating],
    truth: NDArray[np.int64],
    sheet: NDArray[np.bool_],
    history: NDArray[np.floating] | None = None,
) -> tuple[float, float]:
    """What to add to the logits of abnormal heartbeat and infarction; `history` are logits of old infarctions.

    The labels' shares among the exams at hand are no one's prevalence, so the operating point is chosen, not learned:
    for macro F1 of sheets and of signals, and at `WEIGHT` for sheets' infarctions found and old ones not called normal.
    """
    best = (-np.inf, 0.0, 0.0)
    for abnormal in np.arange(-1.0, 0.61, 0.2):
        for infarction in np.arange(-0.4, 1.61, 0.2):
            offsets = np.array([0.0, abnormal, infarction])
            worth = _worth((logits + offsets).argmax(axis=1), truth, sheet, logits.shape[1])
            if history is not None and len(history):
                worth -= WEIGHT * float(((history + offsets).argmax(axis=1) == 0).mean())
            best = max(best, (worth, round(float(abnormal), 2), round(float(infarction), 2)))
    return best[1], best[2]


def _worth(said: NDArray[np.int64], truth: NDArray[np.int64], sheet: NDArray[np.bool_], labels: int) -> float:
    infarction = sheet & (truth == labels - 1)
    found = float((said[infarction] == labels - 1).mean()) if infarction.any() else 0.0
    scores = [f1_by_label(truth[rows], said[rows], labels).mean() for rows in (sheet, ~sheet)]
    return float(np.sum(scores)) + WEIGHT * found
