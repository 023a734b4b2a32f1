"""One phase of training: keras fit that goes on exactly where it was killed."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from model.callbacks import AdaptFocal, Watch
from model.config import Config
from model.labels import LABELS, NOT_NORMAL
from model.losses import AdaptiveFocalLoss, inverse_frequency
from model.training_log import TrainingLog, read_log

_STATE = "state.npz"
_PROGRESS = "progress.json"
_TOGETHER = 8  # steps between two returns to Python
# Which answers are right for each label's number, `NOT_NORMAL` last
RIGHT = np.concatenate([np.eye(len(LABELS)), [np.arange(len(LABELS)) > 0]]).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Inputs of a model and the label of each, as numbers; `NOT_NORMAL` stands for every label but normal."""

    inputs: NDArray[Any]
    labels: NDArray[np.int64]

    def one_hot(self, smoothing: float = 0.0) -> NDArray[np.float32]:
        exact = RIGHT[self.labels]
        return exact * (1 - smoothing) + smoothing / len(LABELS)


class Batches(keras.utils.PyDataset):
    """Shuffled batches; the order depends on the seed and the epoch alone, so that a resumed epoch is the same."""

    def __init__(self, examples: Examples, config: Config, first_epoch: int = 0) -> None:
        super().__init__()
        self._examples = examples
        self._targets = examples.one_hot(config.label_smoothing)
        self._size = config.batch_size
        self._seed = config.seed
        self._epoch = first_epoch
        self._order = self._shuffled()

    def __len__(self) -> int:
        return -(-len(self._targets) // self._size)

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rows = np.sort(self._order[index * self._size : (index + 1) * self._size])
        return np.asarray(self._examples.inputs[rows], np.float32), self._targets[rows]

    def on_epoch_end(self) -> None:
        self._epoch += 1
        self._order = self._shuffled()

    def _shuffled(self) -> NDArray[np.int64]:
        return np.random.default_rng([self._seed, self._epoch]).permutation(len(self._targets))


def make_loss(config: Config, labels: NDArray[np.int64]) -> AdaptiveFocalLoss:
    """The configured loss as a focal loss: cross-entropy is gamma 0, unweighted is alpha 1."""
    counts = np.bincount(labels[labels < NOT_NORMAL], minlength=len(LABELS))
    plain = config.loss == "cross_entropy"
    alpha = np.ones(len(LABELS), np.float32) if plain else inverse_frequency(counts.tolist())
    gamma = 0.0 if config.loss in ("cross_entropy", "weighted_cross_entropy") else config.gamma
    return AdaptiveFocalLoss(alpha.tolist(), gamma)


class Progress(keras.callbacks.Callback):
    """Early stopping, reduction on plateau, checkpoint of the best and of the last epoch, and the log.

    One callback holds them, because their memory must survive a kill together with weights, optimizer, alpha and gamma.
    """

    def __init__(self, config: Config, loss: AdaptiveFocalLoss, folder: Path, keep_best: bool = True) -> None:
        super().__init__()
        self._keep_best = keep_best
        self._config = config
        self._loss = loss
        self._folder = folder
        self.seen: dict[str, float] = {"epoch": 0, "best": float("inf"), "best_epoch": 0, "waited": 0, "plateau": 0}
        self._best: list[NDArray[Any]] = []
        self._log = TrainingLog(folder)

    def restore(self) -> int:
        """Take up a killed run; the epoch to begin with."""
        path = self._folder / _PROGRESS
        if not path.exists():
            return 0
        self.seen = json.loads(path.read_text(encoding="utf-8"))
        with np.load(self._folder / _STATE, allow_pickle=False) as file:
            for number, variable in enumerate(self._variables()):
                variable.assign(file[f"now/{number}"])
            self._best = [file[f"best/{number}"] for number in range(len(self.model.get_weights()))]
        return int(self.seen["epoch"])

    @property
    def stopped(self) -> bool:
        return self.seen["waited"] >= self._config.patience

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        assert logs is not None
        value = logs[self._config.watch] * (-1 if self._config.watch == "val_macro_recall" else 1)
        better = value < self.seen["best"] - 1e-5
        if better:
            self.seen |= {"best": value, "best_epoch": epoch, "waited": 0, "plateau": 0}
            self._best = self.model.get_weights()
        else:
            self.seen["waited"] += 1
            self.seen["plateau"] += 1
        rate, factor = self.model.optimizer.learning_rate, self._config.decay
        if self.seen["plateau"] >= self._config.plateau_patience:
            factor, self.seen["plateau"] = min(factor, 0.5), 0
        rate.assign(ops.convert_to_numpy(rate) * factor)
        self.seen["epoch"] = epoch + 1
        self._log.add(epoch, {name: float(value) for name, value in logs.items()})
        self._save()
        self.model.stop_training = self.stopped

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._log.close()
        if self._best and self._keep_best:
            self.model.set_weights(self._best)

    def _variables(self) -> list[Any]:
        return [*self.model.variables, *self.model.optimizer.variables, self._loss.alpha, self._loss.gamma]

    def _save(self) -> None:
        arrays = {f"now/{n}": np.asarray(ops.convert_to_numpy(one)) for n, one in enumerate(self._variables())}
        arrays |= {f"best/{n}": one for n, one in enumerate(self._best)}
        draft = self._folder / f"draft-{_STATE}"
        np.savez(draft, **arrays)
        draft.replace(self._folder / _STATE)
        draft = self._folder / f"draft-{_PROGRESS}"
        draft.write_text(json.dumps(self.seen), encoding="utf-8")
        draft.replace(self._folder / _PROGRESS)


def fit(
    model: keras.Model,
    train: Examples,
    validation: Examples,
    config: Config,
    folder: Path,
    rate: float,
    epochs: int,
    replayed: Sequence[NDArray[np.float32]] | None = None,
) -> Progress:
    """Train until `epochs` or until patience ends; the best weights stay in the model.

    With `replayed` recalls, measured by an earlier run, the last weights stay: validation was learned from.
    """
    folder.mkdir(parents=True, exist_ok=True)
    loss = make_loss(config, train.labels)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=config.weight_decay)
    model.compile(optimizer, loss, steps_per_execution=_TOGETHER)
    model.optimizer.build(model.trainable_variables)
    progress = Progress(config, loss, folder, keep_best=replayed is None)
    watch = Watch(loss, validation.inputs, validation.one_hot(), replayed or ())
    progress.set_model(model)
    begin = progress.restore()
    callbacks: list[keras.callbacks.Callback] = [watch]
    if config.loss.startswith("adaptive"):
        callbacks.append(AdaptFocal(loss, watch, immediate=config.loss == "adaptive_immediate"))
    if begin < epochs and not progress.stopped:
        batches = Batches(train, config, begin)
        watching = [*callbacks, progress]
        bar = int(sys.stdout.isatty())
        # Keras would shuffle the order of batches once more, out of a generator that a resumed run does not share
        model.fit(batches, epochs=epochs, initial_epoch=begin, callbacks=watching, shuffle=False, verbose=bar)
    else:
        progress.on_train_end()
    return progress


def recalls_of(folder: Path) -> list[NDArray[np.float32]]:
    """Recall by label after every epoch of a finished phase."""
    return [np.array([row[f"recall_{n}"] for n in range(len(LABELS))], np.float32) for row in read_log(folder)]
