"""The head, made infarctions and local weights: parts of a training, on data made by formulas."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import csv
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import wfdb

from core.values import Signal
from model.cache import draw_pictures
from model.config import Config
from model.dataset import fold_of, made_infarctions, part_of, read_manifest
from model.fitting import Examples
from model.metrics import recall_by_label
from model.network import HEAD, build_network
from model.physiology import find_beats, with_infarction
from model.synthetic import synthetic_signal
from model.train import fit_head

SMALL = Config(
    height=64, width=96, sheet_variants=1, signal_variants=2, made_variants=1, head_epochs=2, precision="float32"
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "signals").mkdir()
    rows = []
    for number in range(24):
        label = ("normal", "abnormal_heartbeat", "myocardial_infarction")[number % 3]
        signal = synthetic_signal(
            70 if label != "abnormal_heartbeat" else 150, 0.4 * (number % 3 == 2), seed=number, seconds=4.0
        )
        write(signal, folder / "signals" / f"r{number}")
        rows.append({"kind": "signal", "path": f"signals/r{number}", "label": label, "source": "drawn", "detail": ""})
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def write(signal: Signal, path: Path) -> None:
    values = np.stack(list(signal.leads.values()), axis=1).astype(np.float64)
    wfdb.wrsamp(
        path.name, signal.sampling_rate_hz, ["mV"] * values.shape[1], list(signal.leads), p_signal=values,
        fmt=["16"] * values.shape[1], write_dir=str(path.parent),
    )  # fmt: skip


@pytest.fixture(scope="module")
def init(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local file of keras' own kind, as ImageNet weights come: here with random numbers."""
    keras.utils.set_random_seed(5)
    path = tmp_path_factory.mktemp("init") / "resnet50v2.weights.h5"
    keras.applications.ResNet50V2(include_top=False, weights=None, input_shape=(64, 96, 3)).save_weights(path)
    return path


def test_the_head_learns_what_can_be_learned(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 3, 300)
    inputs = (5 + rng.normal(size=(300, 40)) + 1.5 * np.eye(3)[labels] @ rng.normal(size=(3, 40))).astype(np.float32)
    sets = Examples(inputs[:200], labels[:200]), Examples(inputs[200:], labels[200:])
    head = fit_head(*sets, SMALL, tmp_path)
    said = np.asarray(head.predict(inputs, verbose=0)).argmax(axis=1)
    assert recall_by_label(labels, said, 3).min() > 0.9


def test_every_variant_of_a_record_is_on_one_side_of_every_split(data: Path) -> None:
    exams = read_manifest(data)
    made = made_infarctions(exams)
    assert len(made) == 8
    by_path = {exam.path: exam for exam in exams}
    for exam in made:
        origin = by_path[exam.path]
        assert (part_of(exam), fold_of(exam, 5)) == (part_of(origin), fold_of(origin, 5))


@pytest.fixture
def rng() -> Callable[[], np.random.Generator]:
    return lambda: np.random.default_rng(1)


def test_a_made_infarction_obeys_einthoven_and_moves_the_st_segment(rng: Callable[[], np.random.Generator]) -> None:
    healthy = synthetic_signal(60, seed=1)
    ill = with_infarction(healthy, rng()).leads
    assert np.abs(ill["I"] + ill["III"] - ill["II"]).max() < 0.03
    beats = find_beats(healthy)
    assert 8 <= len(beats) <= 11
    after = beats[1:-1] + 60  # samples: 0.12 s after R
    change = max(abs(float(np.median(ill[lead][after] - healthy.leads[lead][after]))) for lead in ill)
    assert change > 0.1


def test_weights_from_a_local_file_fill_every_layer_of_the_frozen_part(init: Path) -> None:
    from model.train import load_init

    network = build_network(SMALL)
    before = network.get_layer(HEAD).get_weights()[0].copy()
    assert load_init(network, init) > 80
    assert np.array_equal(before, network.get_layer(HEAD).get_weights()[0])


def test_pictures_of_other_exams_are_not_taken_for_these(data: Path, tmp_path: Path) -> None:
    exams = read_manifest(data)[:3]
    first = draw_pictures([(exam, range(1)) for exam in exams[:2]], SMALL, tmp_path, processes=1)
    more = draw_pictures([(exam, range(2)) for exam in exams], SMALL, tmp_path, processes=1)
    assert len(np.load(first)) == 2
    assert len(np.load(more)) == 6
    assert draw_pictures([(exam, range(1)) for exam in exams[:2]], SMALL, tmp_path, processes=1) == first
