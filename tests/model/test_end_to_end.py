"""From a folder of ECGs to a model that judges them, small enough to take seconds."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.errors import BadModel
from core.values import LABELS, Picture
from model.card import WEIGHTS, read_card, shipped_model_dir
from model.classifier import Classifier
from model.config import config_from, read_config
from model.evaluate import evaluate_folder
from model.release import release_trained
from model.rendering import draw_sheet
from model.train import train_folder
from tests.model.drawn_data import KINDS, draw_data_folder, drawn_signal

HEADLINE = [
    "sheets_macro_f1",
    "sheets_mi_found",
    "signals_macro_f1",
    "signals_mi_auroc",
    "history_called_normal",
    "abstained",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_data_folder(tmp_path_factory.mktemp("data"), sheets=7, signals=3)


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained from the shipped weights, at a quarter of the pictures' size; the head starts from nothing."""
    config = config_from(read_card(shipped_model_dir()).config)
    small = replace(
        config,
        height=160,
        width=256,
        sheet_variants=2,
        signal_variants=2,
        made_variants=0,
        head_start=False,  # else the head is right before the loss has said a word
        head_epochs=30,
        learning_rate=2e-3,
        decay=0.95,
        precision="float32",
    )
    return train_folder(
        data, tmp_path_factory.mktemp("trained"), small, shipped_model_dir() / WEIGHTS, say=lambda line: None
    )


@pytest.fixture(scope="module")
def released(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return release_trained(trained, tmp_path_factory.mktemp("models"), "0.0.1")


def test_what_was_trained_tells_new_ecgs_of_its_classes_apart(released: Path) -> None:
    classifier = Classifier.load(released, batch_size=8)
    right = 0
    for index, label in enumerate(KINDS):
        pictures = [Picture(draw_sheet(drawn_signal(label, number)).rgb) for number in range(200, 206)]
        for judgement in classifier.classify(pictures):
            assert judgement.probabilities is not None
            right += int(np.argmax(judgement.probabilities)) == index
    assert list(KINDS) == list(LABELS)
    assert right >= 15  # of 18; a third would be chance


def test_a_trained_folder_holds_its_settings_its_logs_and_its_figure(trained: Path) -> None:
    assert read_config(trained / "config.json").height == 160
    assert (trained / "head" / "epochs.csv").exists()
    assert (trained / "head" / "epochs.png").stat().st_size > 5000


def test_a_released_model_stands_under_the_hash_of_its_weights(released: Path) -> None:
    assert released.name == read_card(released).weights_sha256


def test_a_training_that_did_not_finish_cannot_be_released(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="let `ecg-node model train` finish"):
        release_trained(tmp_path, tmp_path / "models", "0.0.1")


def test_any_folder_of_this_layout_is_scored_headline_first_and_drawn(
    released: Path, data: Path, tmp_path: Path
) -> None:
    scores = evaluate_folder(data, released, tmp_path / "scores.json", tmp_path / "report")
    assert list(scores)[:6] == HEADLINE
    assert json.loads((tmp_path / "scores.json").read_text()) == scores
    assert list((tmp_path / "report").glob("*.html"))
    assert list((tmp_path / "report").glob("*.png"))
