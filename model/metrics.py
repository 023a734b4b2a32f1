"""Measures of a classifier, with intervals; numpy only."""

import math

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959964  # standard normal quantile of a 95 % interval


def recall_by_label(truth: NDArray[np.int64], said: NDArray[np.int64], labels: int) -> NDArray[np.float32]:
    """Recall = sensitivity of each label; 0 for a label that does not occur."""
    return np.array(
        [float((said[truth == label] == label).mean()) if (truth == label).any() else 0.0 for label in range(labels)],
        np.float32,
    )


def f1_by_label(truth: NDArray[np.int64], said: NDArray[np.int64], labels: int) -> NDArray[np.float64]:
    """F1 of each label; what was abstained from (-1) counts as not found."""
    scores = []
    for label in range(labels):
        hit = int(((truth == label) & (said == label)).sum())
        wrong = int(((truth == label) ^ (said == label)).sum())
        scores.append(2 * hit / (2 * hit + wrong) if hit + wrong else 0.0)
    return np.array(scores)


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """95 % interval of a proportion. Wilson 1927."""
    if not trials:
        return 0.0, 1.0
    share = successes / trials
    middle = share + Z95**2 / (2 * trials)
    half = Z95 * math.sqrt(share * (1 - share) / trials + Z95**2 / (4 * trials**2))
    return max(0.0, (middle - half) / (1 + Z95**2 / trials)), min(1.0, (middle + half) / (1 + Z95**2 / trials))


def auroc(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> float:
    """Area under the ROC curve by ranks, ties halved; nan when one side is empty. Mann and Whitney 1947."""
    yes, no = score[positive], score[~positive]
    if not len(yes) or not len(no):
        return math.nan
    return float((yes[:, None] > no[None, :]).mean() + 0.5 * (yes[:, None] == no[None, :]).mean())


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error over bins of equal mass. Naeini 2015."""
    order = np.argsort(confidence)
    parts = np.array_split(order, bins)
    gaps = [len(part) * abs(confidence[part].mean() - right[part].mean()) for part in parts if len(part)]
    return float(sum(gaps) / max(1, len(confidence)))


def bootstrap(values: list[float]) -> tuple[float, float]:
    """95 % interval of resampled values."""
    low, high = np.percentile([value for value in values if not math.isnan(value)], (2.5, 97.5))
    return float(low), float(high)
