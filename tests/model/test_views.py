"""An ECG is judged as it lies and moved by a few pixels: the same moving in training and service, logits averaged.

Seen to fail: with the axes swapped in the tensors alone; with what left on one side coming in on the other; with the
first view's logits alone; with maps of the moved view; with two views of a card that names none; made exams judged.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from keras import ops

from core.errors import Rejected
from model.cache import Cache
from model.card import CARD, WEIGHTS, read_card, shipped_model_dir
from model.classifier import Classifier, compiled_forward
from model.config import Config, config_from
from model.dataset import Exam, prepared_picture, read_manifest
from model.network import build_network, explained
from model.training_data import Data, pictures_of
from model.views import OFFSETS, all_views, averaged, moved
from model.weights_file import load_weights
from tests.model.drawn_data import draw_data_folder

SIZE = (96, 160)


def inputs(count: int) -> np.ndarray:
    return np.random.default_rng(4).integers(0, 256, (count, *SIZE)).astype(np.uint8)


def test_a_view_is_the_picture_moved_with_white_behind_it() -> None:
    pixels = inputs(1)[0]
    assert np.array_equal(moved(pixels, 0), pixels)
    view = moved(pixels, 2)
    assert OFFSETS[2] == (8, 0)
    assert (view[:8] == 255).all()
    assert np.array_equal(view[8:], pixels[:-8])


def test_service_moves_as_training_does() -> None:
    pixels = inputs(3)
    views = ops.convert_to_numpy(all_views(ops.convert_to_tensor(pixels), len(OFFSETS)))
    assert views.dtype == np.uint8
    expected = np.concatenate([moved(pixels, number) for number in range(len(OFFSETS))])
    assert np.array_equal(views, expected)


def test_an_answer_is_the_mean_over_the_views_and_its_maps_are_of_the_first() -> None:
    config = replace(config_from(read_card(shipped_model_dir()).config), height=SIZE[0], width=SIZE[1], views=2)
    network = build_network(replace(config, precision="float32"))
    load_weights(network, shipped_model_dir() / WEIGHTS)
    pixels = inputs(2)
    logits, maps = compiled_forward(network, None, SIZE, config.views)(pixels)
    grey = [np.repeat(moved(pixels, number)[..., None], 3, axis=-1).astype(np.float32) for number in range(2)]
    single = [[ops.convert_to_numpy(one) for one in explained(network)(view, training=False)] for view in grey]
    assert np.abs(single[0][0] - single[1][0]).max() > 0.05
    assert logits == pytest.approx((single[0][0] + single[1][0]) / 2, abs=1e-3)
    assert maps == pytest.approx(single[0][1], abs=1e-3)


def test_logits_are_averaged_exam_by_exam() -> None:
    logits = np.arange(12, dtype=np.float32).reshape(4, 3)  # two exams, two views
    means = ops.convert_to_numpy(averaged(ops.convert_to_tensor(logits), 2))
    assert np.array_equal(means, (logits[:2] + logits[2:]) / 2)


def test_a_card_that_names_no_views_is_of_a_model_judged_by_one(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(shipped_model_dir(), tmp_path / "model"))
    card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    card["config"].pop("views", None)
    (folder / CARD).write_text(json.dumps(card), encoding="utf-8")
    assert read_card(folder).config["views"] == 1


def test_more_views_than_there_are_are_refused_by_name() -> None:
    with pytest.raises(Rejected, match="5 views; 1 to 4"):
        Config(views=5)


def test_training_has_the_views_that_the_service_has(tmp_path: Path) -> None:
    exams = read_manifest(draw_data_folder(tmp_path, sheets=1, signals=1, others=1))
    sheet, other = exams[0], next(one for one in exams if one.label == "other")
    config = Config(height=SIZE[0], width=SIZE[1], views=3, sheet_variants=2)
    assert list(pictures_of(sheet, config)) == [-2, -1, 0, 1]
    assert list(pictures_of(other, config)) == [-2, -1, 0]
    as_it_is, second = (prepared_picture(sheet, number, SIZE, 1) for number in (0, -1))
    assert np.array_equal(second, moved(as_it_is, 1))


def test_a_left_out_exam_is_judged_by_the_mean_of_its_views() -> None:
    exams = {key: Exam(key, "sheet", Path(key), "normal", "", "") for key in ("a", "b")}
    exams["a+mi"] = replace(exams["a"], key="a+mi", made=True)
    keys, numbers = ["a", "a", "b", "a", "b", "a+mi"], np.array([-1, 0, 0, 1, -1, 0])
    pooled = np.array([[1.0], [3.0], [10.0], [99.0], [20.0], [7.0]], np.float32)
    data = Data(exams, Cache(np.zeros((6, 1), np.float16), keys, numbers), Path("none"), np.zeros(6, np.int64))
    found, means = data.judged({"a", "b", "a+mi"}, pooled)
    assert [one.key for one in found] == ["a", "b"]
    assert np.array_equal(means, [[2.0], [15.0]])


def test_the_shipped_model_is_judged_by_the_views_of_its_card() -> None:
    card = read_card(shipped_model_dir())
    with np.load(shipped_model_dir() / "golden.npz") as file:
        pixels, expected = file["pixels"][:1], file["probabilities"][:1]
    loaded = Classifier.load(shipped_model_dir())
    assert loaded.probabilities(pixels) == pytest.approx(expected, abs=0.005)
    config = replace(config_from(card.config), views=1 if card.config["views"] > 1 else 2)
    network = build_network(replace(config, precision="float32"))
    load_weights(network, shipped_model_dir() / WEIGHTS)
    logits, _maps = compiled_forward(network, None, pixels.shape[1:], config.views)(pixels)
    raised = np.exp((logits - logits.max()) / card.temperature)
    assert np.abs(raised / raised.sum() - expected).max() > 0.001
