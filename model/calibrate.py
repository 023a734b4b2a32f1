"""Temperature and abstention threshold from judgements of networks that never saw the exam.

Guo et al. 2017 (temperature); Geifman and El-Yaniv 2017 (abstention for a stated risk).
"""

import numpy as np
from numpy.typing import NDArray

TEMPERATURES = np.exp(np.linspace(np.log(0.2), np.log(5.0), 161))
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
