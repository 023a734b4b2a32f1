"""The adaptive categorical focal loss.

FL(p_t) = -alpha_t (1 - p_t)^gamma_t log(p_t) (Lin et al. 2017), with an alpha and a gamma for each label that training
moves after every epoch by the recall of that label. gamma 0 is weighted cross-entropy.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

GAMMA_START = 2.0
# New values are beta * old + (1 - beta) * target; a label that is found well keeps its values longer
BETA_LEAST, BETA_SPAN = 0.01, 0.89


def adaptive_focal_loss(y_true: Any, logits: Any, alpha: Any, gamma: Any) -> Any:
    """Loss of each example: `y_true` one-hot (batch, labels), `logits` alike, `alpha` and `gamma` (labels,).

    Where several labels are marked, any of them is right: p_t is the sum of their probabilities, alpha and gamma are
    their means.
    """
    log_p = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
    y_true = ops.cast(y_true, "float32")
    marked = ops.sum(y_true, axis=-1)
    among = ops.logsumexp(log_p + ops.log(ops.maximum(y_true, 1e-30)), axis=-1)
    exact = -ops.sum(_modulated(log_p, gamma) * alpha * y_true, axis=-1)
    mean_alpha, mean_gamma = (ops.sum(one * y_true, axis=-1) / ops.maximum(marked, 1.0) for one in (alpha, gamma))
    return ops.where(marked > 1.5, -mean_alpha * _modulated(ops.minimum(among, 0.0), mean_gamma), exact)


def _modulated(log_p: Any, gamma: Any) -> Any:
    """(1 - p)^gamma log p."""
    return ops.power(ops.maximum(1.0 - ops.exp(log_p), 1e-7), gamma) * log_p


@keras.saving.register_keras_serializable("ecg_node")
class AdaptiveFocalLoss(keras.losses.Loss):
    """Holds alpha and gamma as variables: a float would be frozen into the compiled step and never change."""

    def __init__(
        self, alpha: Sequence[float], gamma: Sequence[float] | float = GAMMA_START, name: str = "adaptive_focal"
    ) -> None:
        super().__init__(name=name)
        start_gamma = np.broadcast_to(np.asarray(gamma, "float32"), (len(alpha),)).copy()
        self.alpha = keras.Variable(np.asarray(alpha, "float32"), trainable=False, dtype="float32", name="alpha")
        self.gamma = keras.Variable(start_gamma, trainable=False, dtype="float32", name="gamma")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return adaptive_focal_loss(y_true, y_pred, self.alpha, self.gamma)

    def get_config(self) -> dict[str, Any]:
        return {
            "alpha": ops.convert_to_numpy(self.alpha).tolist(),
            "gamma": ops.convert_to_numpy(self.gamma).tolist(),
            "name": self.name,
        }


def inverse_frequency(counts: Sequence[int]) -> np.ndarray:
    """Start of alpha: inverse label frequency, 1 on average; float32 (labels,)."""
    inverse = 1.0 / np.maximum(np.asarray(counts, np.float64), 1.0)
    return (inverse * len(counts) / inverse.sum()).astype(np.float32)


def adapted(
    alpha: np.ndarray, gamma: np.ndarray, recall: np.ndarray, immediate: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The next alpha and gamma: targets 1 + 2 (1 - recall) and 2 + 2 (1 - recall), approached by beta.

    beta = 0.01 + 0.89 recall, or 0 when `immediate`.
    """
    beta = np.zeros_like(recall) if immediate else BETA_LEAST + BETA_SPAN * recall
    next_alpha = beta * alpha + (1 - beta) * (1 + 2 * (1 - recall))
    next_gamma = beta * gamma + (1 - beta) * (GAMMA_START + 2 * (1 - recall))
    return next_alpha.astype(np.float32), next_gamma.astype(np.float32)
