"""The last stage learns from signals without a diagnosis: what each signal says of itself, read off its drawn sheets.

`python -m model.pretrain DATA OUT INIT [CONFIG [WORK]]` leaves `weights.npz` in OUT, which `train --init` takes. A
killed run goes on after its last finished epoch. Exams of the test part are not learned from; those of the validation
part are watched. WORK is where pictures and activations are kept; that of a training on the same data has them already.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from core.errors import Rejected
from model.cache import Cache
from model.config import Config, read_config
from model.dataset import Exam, part_of, read_manifest, read_signal
from model.head_start import start_readout
from model.last_stage import start_last_stage
from model.network import CUT, build_network
from model.progress import steps
from model.targets import COUNT, targets_of
from model.train import Say, load_init
from model.training_data import activated, pooled_features, variants_of
from model.training_log import TrainingLog, read_log
from model.weights_file import save_weights

EPOCHS = 30
RATE = 3e-5  # Adam: stage and readout start as a useful function
RIDGE = 3.0  # of the readout at the start, as a share of the maps' variance: explained most of the validation part
READOUT = "signal"
PATIENCE = 3  # epochs without a better one
_STATE, _LOG, _BEST = "pretrain-state.npz", "pretrain-epochs.csv", "pretrain-best.npz"


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """Rows of activations and their targets (rows, targets)."""

    cache: Cache
    rows: NDArray[np.int64]
    targets: NDArray[np.float32]

    def own(self) -> Cache:
        """The rows alone, in memory."""
        keys = [self.cache.keys[row] for row in self.rows]
        return Cache(self.cache.activations[self.rows], keys, self.cache.variants[self.rows])

    def batch(self, places: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return self.cache.activations[self.rows[places]].astype(np.float32), self.targets[places]


def pretrain(
    data: Path,
    out: Path,
    init: Path,
    config: Config,
    epochs: int = EPOCHS,
    say: Say = print,
    work: Path | None = None,
) -> Path:
    """Train the last stage on signal targets; the weights file. Raises Rejected when no signal has targets."""
    keras.utils.set_random_seed(config.seed)
    keras.mixed_precision.set_dtype_policy(config.precision)
    network = build_network(config)
    load_init(network, init)
    every = read_manifest(data)
    exams = {exam.key: exam for exam in every if exam.kind == "signal" and part_of(exam) != "test"}
    targets = {key: found for key, exam in exams.items() if (found := targets_of(read_signal(exam))) is not None}
    if not targets:
        raise Rejected(f"{data} holds no signal whose beats can be measured; pre-training needs some")
    out.mkdir(parents=True, exist_ok=True)
    jobs = [(exam, variants_of(exam, config)) for exam in every]
    _pictures, cache = activated(jobs, network, config, work or out / "work", init.stem)
    if network.name == "resnet50v2" and config.last_stage == "residual":
        start_last_stage(network, cache.activations)
    learned, watched = (_lesson(cache, exams, targets, held_out) for held_out in (False, True))
    pooled = pooled_features(network, learned.own(), out / "pooled.npy")
    model = _taught(network, pooled, learned.targets)
    _teach(model, learned, watched, config, out, epochs, say)
    save_weights(network, out / "weights.npz")
    return out / "weights.npz"


def _lesson(cache: Cache, exams: dict[str, Exam], targets: dict[str, NDArray[np.float32]], held_out: bool) -> Lesson:
    keys = {key for key in targets if (part_of(exams[key]) == "validation") == held_out}
    rows = cache.rows_of(keys)
    return Lesson(cache, rows, np.array([targets[cache.keys[row]] for row in rows], np.float32).reshape(-1, COUNT))


def _taught(network: keras.Model, pooled: NDArray[np.float32], targets: NDArray[np.float32]) -> keras.Model:
    """From the cut to the targets; shares its last stage with the network. Batch norms keep their statistics.

    The readout starts as ridge regression on the maps as they are, and sees them less their mean, which Adam needs.
    """
    mean, spread = pooled.mean(axis=0), np.maximum(pooled.std(axis=0), 1e-3)
    scaled = keras.layers.Normalization(mean=mean, variance=spread**2, dtype="float32")
    readout = keras.layers.Dense(COUNT, name=READOUT, dtype="float32")
    found = readout(scaled(network.get_layer("pooled").output))
    readout.set_weights(start_readout((pooled - mean) / spread, targets, RIDGE))
    model = keras.Model(network.get_layer(CUT[network.name]).output, found)
    for layer in model.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    model.compile(keras.optimizers.AdamW(RATE), keras.losses.Huber())
    model.optimizer.build(model.trainable_variables)
    return model


def _teach(
    model: keras.Model, learned: Lesson, watched: Lesson, config: Config, out: Path, epochs: int, say: Say
) -> None:
    """Train until `epochs` or until patience ends; the weights that explained most of the watched exams stay."""
    begin = _restore(model, out)
    if not begin:
        _end_epoch(model, out, 0, float("nan"), watched, say)
        begin = 1
    for epoch in range(begin, epochs + 1):
        if epoch - 1 - _best(out)[0] >= PATIENCE:
            break
        order = np.random.default_rng([config.seed, epoch]).permutation(len(learned.rows))
        firsts = range(0, len(order), config.batch_size)
        losses = [
            float(model.train_on_batch(*learned.batch(np.sort(order[first : first + config.batch_size]))))
            for first in steps(firsts, len(firsts), f"epoch {epoch} of {epochs}")
        ]
        _end_epoch(model, out, epoch, float(np.mean(losses)), watched, say)
    with np.load(out / _BEST, allow_pickle=False) as file:
        model.set_weights([file[f"{n}"] for n in range(len(model.weights))])


def _end_epoch(model: keras.Model, out: Path, epoch: int, loss: float, watched: Lesson, say: Say) -> None:
    share = explained_share(model, watched)
    better = epoch == 0 or share > _best(out)[1]
    if better:
        draft = out / f"draft-{_BEST}"
        np.savez(draft, **{f"{n}": one for n, one in enumerate(model.get_weights())})
        draft.replace(out / _BEST)
    _save(model, out, epoch, loss, share)
    say(f"after epoch {epoch}: loss {loss:.6g}, {share:.4f} of the watched variance explained")


def _best(out: Path) -> tuple[int, float]:
    """The epoch that explained most, and how much; without exams to watch the last one."""
    seen = [(int(row["epoch"]), row["explained"]) for row in read_log(out, _LOG)]
    known = [one for one in seen if not np.isnan(one[1])]
    return max(known, key=lambda one: one[1]) if known else (seen[-1][0], -np.inf)


def explained_share(model: keras.Model, lesson: Lesson) -> float:
    """Share of the targets' variance that is explained, mean over targets; nan without exams."""
    if len(lesson.rows) < 2:
        return float("nan")
    places = np.arange(len(lesson.rows))
    said = np.concatenate(
        [
            ops.convert_to_numpy(model(lesson.batch(some)[0], training=False))
            for some in np.array_split(places, -(-len(places) // 32))
        ]
    )
    spread = np.maximum(lesson.targets.var(axis=0), 1e-6)
    return float(np.mean(1 - ((said - lesson.targets) ** 2).mean(axis=0) / spread))


def _variables(model: keras.Model) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]


def _restore(model: keras.Model, out: Path) -> int:
    if not (out / _STATE).exists():
        return 0
    with np.load(out / _STATE, allow_pickle=False) as file:
        for number, variable in enumerate(_variables(model)):
            variable.assign(file[f"now/{number}"])
        return int(file["epoch"])


def _save(model: keras.Model, out: Path, epoch: int, loss: float, share: float) -> None:
    """Log first, state last: an epoch that is logged twice was killed between them."""
    log = TrainingLog(out, _LOG)
    log.add(epoch, {"loss": loss, "explained": share})
    log.close()
    arrays = {f"now/{n}": np.asarray(ops.convert_to_numpy(one)) for n, one in enumerate(_variables(model))}
    draft = out / f"draft-{_STATE}"
    np.savez(draft, epoch=epoch + 1, **arrays)
    draft.replace(out / _STATE)


if __name__ == "__main__":
    import sys

    folders = [Path(one) for one in sys.argv[1:4]]
    chosen = read_config(Path(sys.argv[4])) if len(sys.argv) > 4 else Config(last_stage="residual", batch_size=16)
    kept = Path(sys.argv[5]) if len(sys.argv) > 5 else None
    print(json.dumps({"weights": str(pretrain(*folders, config=chosen, work=kept))}))
