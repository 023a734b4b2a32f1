"""The adaptive focal loss against values worked out by hand, and what alpha and gamma do to training."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import pytest
from keras import ops

from model.losses import AdaptiveFocalLoss, adapted, adaptive_focal_loss, inverse_frequency

LABELS = 3


def logits_of(*probabilities: list[float]) -> np.ndarray:
    return np.log(np.asarray(probabilities, np.float64)).astype(np.float32)


def one_hot(*labels: int) -> np.ndarray:
    return np.eye(LABELS, dtype=np.float32)[list(labels)]


def losses_of(truth: np.ndarray, logits: np.ndarray, alpha: object, gamma: object) -> np.ndarray:
    made = adaptive_focal_loss(truth, logits, np.asarray(alpha, np.float32), np.asarray(gamma, np.float32))
    return np.asarray(ops.convert_to_numpy(made))


def test_a_perfect_prediction_costs_nearly_nothing() -> None:
    logits = np.array([[20.0, -20.0, -20.0]], np.float32)
    assert losses_of(one_hot(0), logits, [1, 1, 1], [2, 2, 2])[0] < 1e-6


def test_a_wrong_prediction_costs_much() -> None:
    logits = np.array([[20.0, -20.0, -20.0]], np.float32)
    assert losses_of(one_hot(1), logits, [1, 1, 1], [2, 2, 2])[0] == pytest.approx(40.0, rel=1e-4)


def test_values_worked_out_by_hand() -> None:
    """-2 (1 - 0.7)^3 ln 0.7 and -0.5 (1 - 0.2)^1 ln 0.2."""
    logits = logits_of([0.7, 0.2, 0.1], [0.5, 0.2, 0.3])
    found = losses_of(one_hot(0, 1), logits, [2.0, 0.5, 9.0], [3.0, 1.0, 7.0])
    assert found == pytest.approx([0.0192605, 0.6437752], rel=1e-5)


def test_where_several_labels_are_right_their_probabilities_count_together() -> None:
    """Any label but normal: -mean(2, 4) (1 - 0.3 - 0.1)^1 ln(0.3 + 0.1)."""
    found = losses_of(np.array([[0.0, 1.0, 1.0]]), logits_of([0.6, 0.3, 0.1]), [9.0, 2.0, 4.0], [7.0, 0.5, 1.5])
    assert found == pytest.approx([1.6493], rel=1e-4)


def test_gamma_zero_is_weighted_cross_entropy() -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 3, (64, LABELS)).astype(np.float32)
    labels = rng.integers(0, LABELS, 64)
    weights = np.array([0.3, 1.2, 2.5], np.float32)
    reference = keras.losses.CategoricalCrossentropy(from_logits=True, reduction="none")
    expected = weights[labels] * ops.convert_to_numpy(reference(one_hot(*labels), logits))
    assert losses_of(one_hot(*labels), logits, weights, [0, 0, 0]) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_logits_far_apart_give_finite_losses_and_gradients() -> None:
    import tensorflow as tf

    logits = tf.Variable([[900.0, -900.0, 0.0], [0.0, 0.0, 0.0]])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(adaptive_focal_loss(one_hot(0, 1), logits, np.ones(3, "f4"), np.full(3, 0.5, "f4")))
    assert np.isfinite(total.numpy())
    assert np.isfinite(tape.gradient(total, logits).numpy()).all()


def test_start_of_alpha_is_inverse_frequency_with_mean_one() -> None:
    assert inverse_frequency([100, 50, 25]) == pytest.approx([3 / 7, 6 / 7, 12 / 7])


def test_targets_follow_the_published_rule() -> None:
    """Recall 0.5: beta 0.01 + 0.89 * 0.5 = 0.455, targets 2 and 3; recall 1: beta 0.9, targets 1 and 2."""
    alpha, gamma = adapted(np.array([1.0, 4.0]), np.array([2.0, 2.0]), np.array([0.5, 1.0]))
    assert alpha == pytest.approx([0.455 * 1 + 0.545 * 2, 0.9 * 4 + 0.1 * 1])
    assert gamma == pytest.approx([0.455 * 2 + 0.545 * 3, 2.0])


def test_the_immediate_rule_goes_straight_to_its_targets() -> None:
    alpha, gamma = adapted(np.array([9.0, 9.0]), np.array([9.0, 9.0]), np.array([0.0, 0.75]), immediate=True)
    assert alpha == pytest.approx([3.0, 1.5])
    assert gamma == pytest.approx([4.0, 2.5])


def test_alpha_and_gamma_move_a_step_that_is_already_compiled() -> None:
    def gradient_step() -> np.ndarray:
        head.set_weights(start)
        head.train_on_batch(np.ones((1, 1), np.float32), one_hot(0))
        return np.asarray(head.get_weights()[0] - start[0]).ravel()

    head = keras.Sequential([keras.Input((1,)), keras.layers.Dense(LABELS)])
    start = [np.array([[3.0, 0.0, 0.0]], np.float32), np.zeros(LABELS, np.float32)]  # already right: p is 0.91
    loss = AdaptiveFocalLoss([1.0, 1.0, 1.0], 2.0)
    head.compile(keras.optimizers.SGD(0.1), loss)
    focal = gradient_step()
    loss.alpha.assign([3.0, 1.0, 1.0])
    assert gradient_step() == pytest.approx(3 * focal, rel=1e-3)
    loss.alpha.assign([1.0, 1.0, 1.0])
    loss.gamma.assign([0.0, 0.0, 0.0])
    assert np.abs(gradient_step()).sum() > 10 * np.abs(focal).sum()  # focal loss spares what is already right


def test_alpha_and_gamma_are_not_trained_by_the_optimizer() -> None:
    loss = AdaptiveFocalLoss([1.0, 2.0, 3.0], 2.0)
    assert isinstance(loss.alpha, keras.Variable)
    assert not loss.alpha.trainable
    assert not loss.gamma.trainable


def test_the_loss_survives_saving_with_the_values_it_had_reached() -> None:
    loss = AdaptiveFocalLoss([1.0, 2.0, 3.0], 2.0)
    loss.gamma.assign([2.5, 3.0, 3.5])
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert isinstance(again, AdaptiveFocalLoss)
    assert ops.convert_to_numpy(again.alpha) == pytest.approx([1.0, 2.0, 3.0])
    assert ops.convert_to_numpy(again.gamma) == pytest.approx([2.5, 3.0, 3.5])
