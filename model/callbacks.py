"""What happens after an epoch: recall is measured, and alpha and gamma follow it."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from model.losses import AdaptiveFocalLoss, adapted, adaptive_focal_loss
from model.metrics import recall_by_label


class Watch(keras.callbacks.Callback):
    """Measures validation under fixed terms: the loss with the starting alpha and gamma, and macro recall.

    The loss that adapts cannot be compared between epochs, so that stopping, plateau and checkpoint need a measure that
    does not move. Must stand before them in the list of callbacks.
    """

    def __init__(
        self, loss: AdaptiveFocalLoss, inputs: Any, labels: np.ndarray, replayed: Sequence[np.ndarray] = ()
    ) -> None:
        """`replayed`: recalls by epoch that an earlier run measured on exams which this one learns from."""
        super().__init__()
        self._replayed = replayed
        self._inputs = inputs
        self._labels = labels
        self._alpha = ops.convert_to_numpy(loss.alpha).copy()
        self._gamma = ops.convert_to_numpy(loss.gamma).copy()
        self.recall = np.zeros(labels.shape[1], np.float32)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logits = np.asarray(self.model.predict(self._inputs, verbose=0), np.float32)
        losses = adaptive_focal_loss(self._labels, logits, self._alpha, self._gamma)
        self.recall = recall_by_label(self._labels.argmax(1), logits.argmax(1), self._labels.shape[1])
        if epoch < len(self._replayed):
            self.recall = self._replayed[epoch]
        if logs is not None:
            logs["val_start_loss"] = float(ops.convert_to_numpy(ops.mean(losses)))
            logs["val_macro_recall"] = float(self.recall.mean())
            for number, value in enumerate(self.recall):
                logs[f"recall_{number}"] = float(value)


class AdaptFocal(keras.callbacks.Callback):
    """Moves alpha and gamma by the recall that `Watch` measured."""

    def __init__(self, loss: AdaptiveFocalLoss, watch: Watch, immediate: bool = False) -> None:
        super().__init__()
        self._loss = loss
        self._watch = watch
        self._immediate = immediate

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        alpha, gamma = (ops.convert_to_numpy(one) for one in (self._loss.alpha, self._loss.gamma))
        alpha, gamma = adapted(alpha, gamma, self._watch.recall, self._immediate)
        self._loss.alpha.assign(alpha)
        self._loss.gamma.assign(gamma)
        if logs is not None:
            for number in range(len(alpha)):
                logs[f"alpha_{number}"], logs[f"gamma_{number}"] = float(alpha[number]), float(gamma[number])
