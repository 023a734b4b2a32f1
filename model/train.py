"""Training in two phases: the head over a frozen network, then the last stage with it.

`python -m model.train DATA OUT INIT` or `ecg-node model train DATA OUT --init FILE`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from core.errors import BadModel
from model.config import Config
from model.dataset import part_of
from model.fitting import Examples, fit, recalls_of
from model.head_start import start_head
from model.labels import LABELS
from model.last_stage import start_last_stage
from model.network import DROP, HEAD, build_network, load_imagenet, top_of
from model.training_data import Data, pooled_features, read_data, trainable_keys, watchable_keys
from model.training_figure import draw_training
from model.weights_file import load_weights, save_weights

Say = Callable[[str], None]
_UNFROZEN = 20  # layers, counted from the head, that phase 2 trains when the last stage has its ImageNet weights


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """A network with its frozen part filled, and the data as that part sees it."""

    network: keras.Model
    data: Data
    pooled: NDArray[np.float32]


def prepare_training(data_folder: Path, work: Path, config: Config, init: Path, say: Say = print) -> Start:
    """Fill the frozen part from `init`, then draw and activate the data; everything is kept in `work`."""
    keras.utils.set_random_seed(config.seed)
    keras.mixed_precision.set_dtype_policy(config.precision)
    network = build_network(config)
    filled = load_init(network, init)
    say(f"{filled} layers from {init.name}; drawing and activating {data_folder}")
    data = read_data(data_folder, network, config, work, init.stem)
    if network.name == "resnet50v2" and not is_complete(init, config):
        start_last_stage(network, data.cache.activations)
    kept = f"pooled-{data.pictures.stem}-{init.stem}-{config.last_stage}-{config.made_variants}.npy"
    pooled = pooled_features(network, data.cache, work / kept)
    return Start(network, data, pooled)


def load_init(network: keras.Model, init: Path) -> int:
    """ImageNet weights (TF-slim .npz, keras .h5) or a released weights file; layers that were filled."""
    if init.suffix == ".npz" and init.exists():
        with np.load(init, allow_pickle=False) as file:
            released = f"{HEAD}/0" in file.files
        if released:
            load_weights(network, init)
            return sum(bool(layer.weights) for layer in network.layers)
    return load_imagenet(network, init)


def is_complete(init: Path, config: Config) -> bool:
    """Whether the last stage came with its weights: a released file, or all of ImageNet's where all of it is built."""
    if init.suffix != ".npz":
        return config.last_stage == "residual"
    with np.load(init, allow_pickle=False) as file:
        return f"{HEAD}/0" in file.files


def train(
    start: Start, train_keys: set[str], validation_keys: set[str], config: Config, out: Path, say: Say = print
) -> None:
    """Both phases on some exams; the trained weights stay in the network and in `out`."""
    train_rows = start.data.rows(trainable_keys(start.data, train_keys))
    check_rows = start.data.rows(watchable_keys(start.data, validation_keys), most_variants=2)
    out.mkdir(parents=True, exist_ok=True)
    config.save(out / "config.json")
    head = fit_head(
        start.data.examples(train_rows, start.pooled),
        start.data.examples(check_rows, start.pooled),
        config,
        out / "head",
    )
    start.network.get_layer(HEAD).set_weights(head.get_layer(HEAD).get_weights())
    say("the head is trained")
    if config.epochs:
        _tune(start, train_rows, check_rows, config, out / "tune")
        say("the last stage is trained")
    save_weights(start.network, out / "weights.npz")


def fit_head(train_set: Examples, check_set: Examples, config: Config, folder: Path) -> keras.Model:
    """Phase 1: one dense layer over pooled maps.

    It is trained on maps less their mean, which Adam needs, and then given the bias that makes it fit maps as they are.
    """
    if not config.refit:
        return _fit_dense(train_set, check_set, config, folder)
    whole = replace(config, patience=config.head_epochs)  # the penalty keeps the head from overfitting, not the end
    _fit_dense(train_set, check_set, whole, folder)
    both = Examples(
        np.concatenate([train_set.inputs, check_set.inputs]), np.concatenate([train_set.labels, check_set.labels])
    )
    return _fit_dense(both, check_set, whole, folder / "refit", recalls_of(folder))


def _fit_dense(
    train_set: Examples,
    check_set: Examples,
    config: Config,
    folder: Path,
    replayed: Sequence[NDArray[np.float32]] | None = None,
) -> keras.Model:
    keras.utils.set_random_seed(config.seed)
    mean = train_set.inputs.mean(axis=0)
    inputs = keras.Input(train_set.inputs.shape[1:])
    dropped = keras.layers.Dropout(config.dropout, seed=config.seed, dtype="float32")(inputs)
    shrunk = keras.regularizers.L2(config.l2)
    head = keras.Model(
        inputs, keras.layers.Dense(len(LABELS), name=HEAD, dtype="float32", kernel_regularizer=shrunk)(dropped)
    )
    centred, checked = (Examples(one.inputs - mean, one.labels) for one in (train_set, check_set))
    if config.head_start:
        head.get_layer(HEAD).set_weights(start_head(centred.inputs, centred.labels, len(LABELS), config.l2))
    fit(head, centred, checked, config, folder, config.learning_rate, config.head_epochs, replayed)
    kernel, bias = head.get_layer(HEAD).get_weights()
    head.get_layer(HEAD).set_weights([kernel, bias - mean @ kernel])
    return head


def _tune(
    start: Start, train_rows: NDArray[np.int64], check_rows: NDArray[np.int64], config: Config, folder: Path
) -> None:
    """Phase 2: the last layers and the head. Batch norms keep the statistics that phase 1 saw."""
    top = top_of(start.network)
    unfreeze_last(top, config)
    activations = start.data.cache.activations
    lazy = Examples(_Rows(activations, train_rows), start.data.labels[train_rows])  # type: ignore[arg-type]
    check = start.data.examples(check_rows, activations)
    fit(top, lazy, check, config, folder, config.tuning_rate, config.epochs)


def unfreeze_last(top: keras.Model, config: Config) -> None:
    """Which layers phase 2 trains: all of the last stage that starts new, else the study's last 20 layers."""
    trained = top.layers if config.variant == "resnet50v2" else top.layers[-_UNFROZEN:]
    for layer in top.layers:
        layer.trainable = layer in trained and not isinstance(layer, keras.layers.BatchNormalization)
    if not top.get_layer(DROP):
        raise BadModel("the network lacks its dropout layer")


class _Rows:
    """Some rows of activations on disk, read a batch at a time."""

    def __init__(self, activations: NDArray[np.float16], rows: NDArray[np.int64]) -> None:
        self._activations = activations
        self._rows = rows

    def __getitem__(self, wanted: NDArray[np.int64]) -> NDArray[np.float16]:
        return self._activations[self._rows[wanted]]


def train_folder(data: Path, to: Path, config: Config, init: Path, everything: bool = False, say: Say = print) -> Path:
    """Train on a data folder and leave weights, settings, logs and figures in `to`; where they are.

    The training part of the fixed split is learned and the validation part watched; with `everything` the test part is
    learned too. A killed run goes on where it was. Raises BadModel, Rejected.
    """
    start = prepare_training(data, to / "work", config, init, say)
    parts: dict[str, set[str]] = {"train": set(), "validation": set(), "test": set()}
    for key, exam in start.data.exams.items():
        parts[part_of(exam)].add(key)
    learned = parts["train"] | (parts["test"] if everything else set())
    train(start, learned, parts["validation"], config, to, say)
    for log in sorted(to.glob("*/epochs.csv")):
        say(f"figure: {draw_training(log, log.with_suffix('.png'))}")
    return to


if __name__ == "__main__":
    import sys

    train_folder(Path(sys.argv[1]), Path(sys.argv[2]), Config(), Path(sys.argv[3]))
