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
