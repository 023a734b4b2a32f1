"""Training: it learns, the loss adapts, and a killed run goes on as if nothing had been."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import csv
import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from model.config import Config
from model.fitting import Examples, fit, make_loss

# The default decay is for a head that starts near its optimum; from a random start it would stop training half-way
CONFIG = Config(batch_size=16, patience=50, plateau_patience=2, learning_rate=0.05, decay=1.0, precision="float32")


def blobs(count: int, seed: int) -> Examples:
    """Three clouds of points; the last label is rare."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, count, p=[0.5, 0.4, 0.1])
    centres = np.array([[0, 0, 0, 0], [2, 0, 1, 0], [0, 2, 0, 1]], np.float32)
    return Examples((centres[labels] + rng.normal(0, 0.7, (count, 4))).astype(np.float32), labels)


def head(seed: int = 1) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="label", dtype="float32")])


def train(folder: Path, epochs: int, config: Config = CONFIG) -> tuple[keras.Model, list[dict[str, str]]]:
    model = head()
    fit(model, blobs(160, 1), blobs(80, 2), config, folder, config.learning_rate, epochs)
    with (folder / "epochs.csv").open(encoding="utf-8", newline="") as file:
        return model, list(csv.DictReader(file))


LOSSES = ["adaptive", "adaptive_immediate", "focal", "weighted_cross_entropy", "cross_entropy"]
OPTIMUM = 0.92  # accuracy of scikit-learn's logistic regression on the same clouds


def accuracy(model: keras.Model) -> float:
    left = blobs(300, 3)
    said = np.asarray(model.predict(left.inputs, verbose=0)).argmax(1)
    return float((said == left.labels).mean())


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_learns_to_tell_three_clouds_apart(loss: str, tmp_path: Path) -> None:
    model, _log = train(tmp_path, 25, replace(CONFIG, loss=loss))  # type: ignore[arg-type]
    assert accuracy(head()) < 0.6
    assert accuracy(model) > OPTIMUM - 0.05


def test_alpha_and_gamma_are_other_after_every_epoch(tmp_path: Path) -> None:
    _model, log = train(tmp_path, 4)
    assert len({row["gamma_2"] for row in log}) == 4
    assert len({row["alpha_2"] for row in log}) == 4


def test_a_fixed_loss_keeps_its_values(tmp_path: Path) -> None:
    _model, log = train(tmp_path, 3, replace(CONFIG, loss="focal"))
    assert "gamma_2" not in log[0]


def test_a_resumed_run_goes_through_the_same_epochs(tmp_path: Path) -> None:
    whole, whole_log = train(tmp_path / "whole", 6)
    train(tmp_path / "killed", 3)
    resumed, resumed_log = train(tmp_path / "killed", 6)
    assert [row["epoch"] for row in resumed_log] == ["0", "1", "2", "3", "4", "5"]
    assert resumed_log[3:] == whole_log[3:]
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        assert one == pytest.approx(other, abs=1e-6)


def test_tensorboard_reads_what_the_csv_file_says(tmp_path: Path) -> None:
    train(tmp_path, 2)
    _model, log = train(tmp_path, 4)
    read = EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    assert set(read.Tags()["scalars"]) == set(log[0]) - {"epoch"}
    for name in ("loss", "val_start_loss", "recall_2", "gamma_2"):
        seen = [(event.step, event.value) for event in read.Scalars(name)]
        assert [step for step, _value in seen] == [0, 1, 2, 3]
        assert [value for _step, value in seen] == pytest.approx([float(row[name]) for row in log], rel=1e-4)


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    first, log = train(tmp_path, 3)
    again, log_again = train(tmp_path, 3)
    assert log == log_again
    for one, other in zip(first.get_weights(), again.get_weights(), strict=True):
        assert (one == other).all()


def test_training_stops_when_the_fixed_measure_no_longer_falls(tmp_path: Path) -> None:
    _model, log = train(tmp_path, 300, replace(CONFIG, patience=3, learning_rate=0.2))
    losses = [float(row["val_start_loss"]) for row in log]
    assert len(log) < 300
    assert len(log) - 1 - int(np.argmin(losses)) == 3


def test_the_best_weights_are_left_in_the_model(tmp_path: Path) -> None:
    model, log = train(tmp_path, 30, replace(CONFIG, patience=4, learning_rate=0.5, plateau_patience=99))
    watched = blobs(80, 2)
    loss = make_loss(CONFIG, blobs(160, 1).labels)
    found = float(np.mean(loss(watched.one_hot(), np.asarray(model.predict(watched.inputs, verbose=0)))))
    assert found == pytest.approx(min(float(row["val_start_loss"]) for row in log), rel=1e-3)


def test_macro_recall_can_be_watched_instead(tmp_path: Path) -> None:
    _model, log = train(tmp_path, 8, replace(CONFIG, watch="val_macro_recall"))
    seen = json.loads((tmp_path / "progress.json").read_text())
    assert -seen["best"] == pytest.approx(max(float(row["val_macro_recall"]) for row in log), abs=1e-4)


def test_the_learning_rate_falls_on_a_plateau(tmp_path: Path) -> None:
    config = replace(CONFIG, learning_rate=0.5, plateau_patience=1)
    model, _log = train(tmp_path, 25, config)
    assert float(np.asarray(model.optimizer.learning_rate)) < 0.5
