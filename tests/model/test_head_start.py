"""The head's start is the optimum it claims to be."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from model.head_start import start_head


def test_the_start_is_the_optimum_that_scikit_learn_finds() -> None:
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1, 2], [120, 60, 20])
    inputs = (rng.normal(size=(200, 12)) + np.eye(3)[labels] @ rng.normal(size=(3, 12))).astype(np.float32)
    kernel, bias = start_head(inputs, labels, 3, l2=0.02)
    # scikit-learn sums losses that average 1 a picture and halves the penalty
    other = LogisticRegression(C=1 / (2 * 0.02 * 200), class_weight="balanced", max_iter=2000, tol=1e-8)
    other.fit(inputs, labels)
    assert kernel == pytest.approx(other.coef_.T - other.coef_.T.mean(axis=1, keepdims=True), abs=0.02)
    gaps, expected = bias - bias.mean(), other.intercept_ - other.intercept_.mean()
    assert gaps == pytest.approx(expected, abs=0.02)


def test_a_picture_known_only_to_be_not_normal_moves_the_head_away_from_normal_alone() -> None:
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1, 2], [60, 60, 60])
    centres = np.array([[0, 0, 0], [3, 0, 0], [0, 3, 0]])
    inputs = (centres[labels] + rng.normal(size=(180, 3))).astype(np.float32)
    vague = (np.array([0, 0, 3]) + 0.3 * rng.normal(size=(30, 3))).astype(np.float32)
    known, both = (inputs, labels), (np.concatenate([inputs, vague]), np.append(labels, [3] * 30))
    before, after = (share_of_normal(start_head(*one, 3, l2=0.001), vague) for one in (known, both))
    assert before > 0.5
    assert after < 0.1


def share_of_normal(head: tuple[np.ndarray, np.ndarray], inputs: np.ndarray) -> float:
    return float(((inputs @ head[0] + head[1]).argmax(axis=1) == 0).mean())
