"""The exported network answers as the released one, and is not handed out otherwise.

Seen to fail: with the precision of a training that went before in the same process.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from core.errors import BadModel
from model.card import CARD, GOLDEN, read_card, sha256_of, shipped_model_dir
from model.export import disagreement, export_saved_model


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import keras

    folder = tmp_path_factory.mktemp("export") / "saved"
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")  # as a training leaves it
    export_saved_model(folder)
    keras.mixed_precision.set_dtype_policy(before)
    return folder


def test_an_export_answers_as_the_model_it_was_made_from(exported: Path) -> None:
    assert disagreement(exported, shipped_model_dir() / GOLDEN) < 0.005


def test_an_export_carries_the_card(exported: Path) -> None:
    assert json.loads((exported / CARD).read_text()) == json.loads((shipped_model_dir() / CARD).read_text())


def test_an_export_takes_any_number_of_pictures_and_gives_heat_for_every_label(exported: Path) -> None:
    import tensorflow as tf

    config = read_card(shipped_model_dir()).config
    served = tf.saved_model.load(str(exported)).signatures["serving_default"]
    answer = served(pixels=tf.constant(np.full((3, config["height"], config["width"]), 255, np.uint8)))
    assert answer["probabilities"].shape == (3, 3)
    assert answer["heat"].shape[-1] == 3


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(BadModel, match="not empty"):
        export_saved_model(tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["mine.txt"]


def test_an_export_that_answers_otherwise_is_refused(tmp_path: Path) -> None:
    model = Path(shutil.copytree(shipped_model_dir(), tmp_path / "model"))
    with np.load(model / GOLDEN) as file:
        np.savez(model / GOLDEN, pixels=file["pixels"], probabilities=1 - file["probabilities"])
    card = json.loads((model / CARD).read_text())
    (model / CARD).write_text(json.dumps(card | {"golden_sha256": sha256_of(model / GOLDEN)}))
    with pytest.raises(BadModel, match="answers otherwise"):
        export_saved_model(tmp_path / "saved", model)
