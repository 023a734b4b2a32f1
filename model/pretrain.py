"""The whole network learns to read sheets that are drawn without end, before it learns any diagnosis.

`python -m model.pretrain DATA OUT INIT [EPOCHS [CONFIG]]` leaves `weights.npz` in OUT, which `train --init` and
`model.study` take. A killed run goes on after its last finished epoch. Of DATA only records are used whose label the
network lacks, so that no exam that it is later trained or scored on was seen here.

Two things are asked of each picture. Of the whole, through the network's own pooling: what the signal measures, and
which wall was injured or scarred. Of each lead, pooled over the place where it was drawn: which lead it is, its ST
level, T wave, QRS complex and Q wave. The second gives a dozen answers a picture and says where to look.
"""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from core.errors import Rejected
from core.values import Signal
from model.config import Config, read_config
from model.dataset import part_of, read_manifest, read_signal
from model.drawn_lesson import STRIPS, WHOLE, Drawn, draw_lesson, join
from model.labels import index_of
from model.last_stage import start_last_stage
from model.network import MAPS, build_network, trunk_of
from model.progress import steps
from model.rendering import LEADS
from model.targets import COUNT, LEAD_NAMES, NAMES
from model.train import Say, is_complete, load_init
from model.training_log import TrainingLog
from model.weights_file import save_weights

EPOCHS = 14
SHEETS = 1024  # an epoch: about five minutes on two cores
WATCHED = 96
BATCH = 8  # on two cores a larger one only makes fewer steps of the same time
RATE = 1.5e-4  # AdamW, at its highest; a cosine down to nothing
WARM = 0.03  # of all steps
FROZEN = ("conv1", "conv2")  # edges and strokes are as ImageNet has them; a quarter of the time is saved
_LEAD_WEIGHT = 0.3  # of which lead it is, beside what it shows
_AT_ONCE = 64  # sheets drawn by one task
_WATCH_SEED = 10**6
_STATE, _LOG = "pretrain-state.npz", "pretrain-epochs.csv"


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """Hearts to draw: those learned from, and those watched."""

    learned: list[Signal]
    watched: list[Signal]


@cache
def read_records(data: Path) -> Records:
    """The records whose label the network lacks, read once in each process. Raises Rejected where there is none."""
    exams = [one for one in read_manifest(data) if one.kind == "signal" and index_of(one.label) is None]
    if not exams:
        raise Rejected(f"{data} holds no signal of a label that the network lacks; pre-training draws those")
    held_out = [exam for exam in exams if part_of(exam) == "validation"]
    learned = [exam for exam in exams if part_of(exam) != "validation"]
    return Records([read_signal(one) for one in learned], [read_signal(one) for one in held_out])


def pretrain(
    data: Path, out: Path, init: Path, config: Config, epochs: int = EPOCHS, sheets: int = SHEETS, say: Say = print
) -> Path:
    """Train on `sheets` new drawings an epoch; the weights file. Raises Rejected, BadModel."""
    keras.utils.set_random_seed(config.seed)
    keras.mixed_precision.set_dtype_policy(config.precision)
    read_records(data)  # refuses a folder before anything is started
    network = build_network(config)
    load_init(network, init)
    out.mkdir(parents=True, exist_ok=True)
    size = (config.height, config.width)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        drawer = _Drawer(pool, data, size, config.seed, sheets)
        watched = drawer.watched()
        if network.name == "resnet50v2" and not (is_complete(init, config) or (out / _STATE).exists()):
            start_last_stage(network, _activations(network, watched))
        model = reader_of(network)
        _compile(model, epochs * -(-sheets // BATCH))
        _teach(model, drawer, watched, out, epochs, say)
    save_weights(network, out / "weights.npz")
    return out / "weights.npz"


def reader_of(network: keras.Model) -> keras.Model:
    """The network with what is asked here for a head: pictures and areas (batch, STRIPS, cells) to three answers.

    `whole` (batch, WHOLE), `said` (batch, STRIPS, targets of a lead), `lead` (batch, STRIPS, leads) as logits. Layers
    are shared; batch norms keep their statistics.
    """
    maps = network.get_layer(MAPS[network.name]).output
    rows, columns, channels = maps.shape[1:]
    areas = keras.Input((STRIPS, rows * columns), name="areas")
    flat = keras.layers.Reshape((rows * columns, channels), name="cells")(maps)
    strips = keras.layers.Dot((2, 1), dtype="float32", name="strips")([areas, flat])
    pooled = network.get_layer("pooled").output
    answers = {
        "whole": keras.layers.Dense(WHOLE, kernel_initializer="zeros", dtype="float32", name="whole")(pooled),
        "said": keras.layers.Dense(len(LEAD_NAMES), kernel_initializer="zeros", dtype="float32", name="said")(strips),
        "lead": keras.layers.Dense(len(LEADS), kernel_initializer="zeros", dtype="float32", name="lead")(strips),
    }
    model = keras.Model([network.input, areas], answers, name="reader")
    for layer in model.layers:
        norm = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = not norm and layer.name.split("_")[0] not in FROZEN
    return model


def _compile(model: keras.Model, all_steps: int) -> None:
    warm = max(1, round(WARM * all_steps))
    rate = keras.optimizers.schedules.CosineDecay(
        RATE / 100, max(1, all_steps - warm), warmup_target=RATE, warmup_steps=warm
    )
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=1e-4, global_clipnorm=1.0),
        {
            "whole": keras.losses.Huber(),
            "said": keras.losses.Huber(),
            "lead": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        },
        loss_weights={"whole": 1.0, "said": 1.0, "lead": _LEAD_WEIGHT},
        jit_compile=keras.backend.backend() != "tensorflow",
    )
    model.optimizer.build(model.trainable_variables)


def _draw(data: Path, watched: bool, count: int, size: tuple[int, int], seed: tuple[int, ...]) -> Drawn:
    records = read_records(data)
    return draw_lesson(records.watched if watched else records.learned, count, size, seed)


@dataclass(frozen=True, slots=True, eq=False)
class _Drawer:
    """Draws epochs in other processes; an epoch depends on its number and the seed alone."""

    pool: ProcessPoolExecutor
    data: Path
    size: tuple[int, int]
    seed: int
    sheets: int

    def epoch(self, number: int) -> list[Future[Drawn]]:
        """The sheets of an epoch, a part each."""
        starts = range(0, self.sheets, _AT_ONCE)
        counts = [min(_AT_ONCE, self.sheets - start) for start in starts]
        return [
            self.pool.submit(_draw, self.data, False, count, self.size, (self.seed, number, start))
            for start, count in zip(starts, counts, strict=True)
        ]

    def watched(self) -> Drawn:
        """Sheets of records that are not learned from, and of formulas: the same in every run."""
        counts = [WATCHED // 2] * 2
        parts = [
            self.pool.submit(_draw, self.data, True, count, self.size, (_WATCH_SEED, start))
            for start, count in enumerate(counts)
        ]
        return join([part.result() for part in parts])


def _teach(model: keras.Model, drawer: _Drawer, watched: Drawn, out: Path, epochs: int, say: Say) -> None:
    begin = _restore(model, out)
    coming = drawer.epoch(begin) if begin <= epochs else []
    for epoch in range(begin, epochs + 1):
        parts, coming = coming, drawer.epoch(epoch + 1) if epoch < epochs else []
        losses = [model.train_on_batch(*batch)[0] for batch in _batches(model, parts, epoch, epochs, drawer.sheets)]
        figures = read_by(model, watched) | {"loss": float(np.mean(losses))}
        _save(model, out, epoch, figures)
        say(f"after epoch {epoch}: " + ", ".join(f"{name} {value:.3f}" for name, value in figures.items()))


def _batches(
    model: keras.Model, parts: list[Future[Drawn]], epoch: int, epochs: int, sheets: int
) -> Iterator[tuple[Any, Any, Any]]:
    for part in steps(parts, len(parts), f"epoch {epoch} of {epochs}"):
        drawn = part.result()
        for first in range(0, len(drawn), BATCH):
            yield asked(model, drawn.part(first, first + BATCH))


def asked(model: keras.Model, drawn: Drawn) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Inputs, answers and weights of a batch; a strip that is not there weighs nothing."""
    rows, columns = model.get_layer("cells").input.shape[1:3]
    there = (drawn.lead >= 0).astype(np.float32)
    inputs = {
        "picture": np.repeat(drawn.pictures[..., None], 3, axis=3).astype(np.float32),
        "areas": drawn.areas(rows, columns),
    }
    answers = {"whole": drawn.whole, "said": drawn.said, "lead": np.maximum(drawn.lead, 0)}
    return inputs, answers, {"whole": np.ones(len(drawn), np.float32), "said": there, "lead": there}


def read_by(model: keras.Model, drawn: Drawn) -> dict[str, float]:
    """Share of the variance of some sheets' answers that is explained, by group, and of strips named rightly."""
    said = [model.predict_on_batch(asked(model, drawn.part(n, n + BATCH))[0]) for n in range(0, len(drawn), BATCH)]
    whole, strips, lead = (
        np.concatenate([np.asarray(one[name]) for one in said]) for name in ("whole", "said", "lead")
    )
    there = drawn.lead >= 0
    shares = _explained(whole, drawn.whole)
    by_lead = _explained(strips[there], drawn.said[there])
    groups = {name: float(np.mean(shares[[n for n, one in enumerate(NAMES) if one.split("_")[0] == name]]))
              for name in ("rate", "irregularity", "axis", "qrs", "st", "t", "r")}  # fmt: skip
    groups["injury"], groups["scar"] = (float(np.mean(one)) for one in np.split(shares[COUNT:], 2))
    groups |= {f"strip_{name}": float(share) for name, share in zip(LEAD_NAMES, by_lead, strict=True)}
    return groups | {"strip_named": float(np.mean(lead.argmax(axis=-1)[there] == drawn.lead[there]))}


def _explained(said: NDArray[np.float32], truth: NDArray[np.float32]) -> NDArray[np.float32]:
    return 1 - ((said - truth) ** 2).mean(axis=0) / np.maximum(truth.var(axis=0), 1e-6)


def _activations(network: keras.Model, drawn: Drawn) -> NDArray[np.float16]:
    trunk = trunk_of(network)
    inputs = np.repeat(drawn.pictures[..., None], 3, axis=3).astype(np.float32)
    parts = [trunk.predict_on_batch(inputs[n : n + BATCH]) for n in range(0, len(inputs), BATCH)]
    return np.concatenate([np.asarray(part, np.float16) for part in parts])


def _variables(model: keras.Model) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]


def _restore(model: keras.Model, out: Path) -> int:
    """Take up a killed run; the epoch to begin with, counted from 1."""
    if not (out / _STATE).exists():
        return 1
    with np.load(out / _STATE, allow_pickle=False) as file:
        for number, variable in enumerate(_variables(model)):
            variable.assign(file[f"now/{number}"])
        return int(file["epoch"])


def _save(model: keras.Model, out: Path, epoch: int, figures: dict[str, float]) -> None:
    """Log first, state last: an epoch that is logged twice was killed between them."""
    log = TrainingLog(out, _LOG)
    log.add(epoch, figures)
    log.close()
    arrays = {f"now/{n}": np.asarray(ops.convert_to_numpy(one)) for n, one in enumerate(_variables(model))}
    draft = out / f"draft-{_STATE}"
    np.savez(draft, epoch=epoch + 1, **arrays)
    draft.replace(out / _STATE)


if __name__ == "__main__":
    import sys

    folders = [Path(one) for one in sys.argv[1:4]]
    wanted = int(sys.argv[4]) if len(sys.argv) > 4 else EPOCHS
    chosen = read_config(Path(sys.argv[5])) if len(sys.argv) > 5 else Config()
    print(json.dumps({"weights": str(pretrain(*folders, config=chosen, epochs=wanted))}))
