"""Heat maps follow the network and the picture, and name no lead that they do not know."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from core.errors import Rejected
from core.values import LABELS, Box, LeadBox
from model.card import WEIGHTS, read_card, shipped_model_dir
from model.config import config_from
from model.dataset import Exam, read_manifest, service_picture
from model.explain import attributions, describe_region, explain, explain_file, name_leads
from model.network import build_network, explained
from model.preprocessing import prepare
from model.rendering import draw_sheet
from model.synthetic import synthetic_signal
from model.weights_file import load_weights
from tests.conftest import need_data

METHODS = ("grad_cam", "grad_cam++", "integrated_gradients", "score_cam")
FAST = METHODS[:2]
SLOW = METHODS[2:]
MI = 2


@pytest.fixture(scope="module")
def both() -> keras.Model:
    return sized(96, 160)


def sized(height: int, width: int) -> keras.Model:
    """The shipped network for smaller pictures: its weights do not depend on their size, and tests take a quarter."""
    config = config_from(read_card(shipped_model_dir()).config)
    network = build_network(replace(config, height=height, width=width))
    load_weights(network, shipped_model_dir() / WEIGHTS)
    return explained(network)


@pytest.fixture(scope="module")
def pixels(both: keras.Model) -> NDArray[np.uint8]:
    return prepare(draw_sheet(synthetic_signal(75, 0.3)).rgb, *both.input_shape[1:3]).pixels


def logit(both: keras.Model, inputs: NDArray[np.float32], label: int) -> float:
    return float(np.asarray(both(inputs[None], training=False)[0])[0, label])


def enlarged(heat: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.asarray(Image.fromarray(heat).resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


@pytest.mark.parametrize("method", METHODS)
def test_heat_lies_between_nothing_and_one(both: keras.Model, pixels: NDArray[np.uint8], method: str) -> None:
    heat = explain(both, pixels, MI, method)  # type: ignore[arg-type]
    assert heat.ndim == 2
    assert heat.min() >= 0
    assert heat.max() == pytest.approx(1.0)
    assert heat.std() > 0.01


def test_grad_cam_in_closed_form_is_grad_cam_by_gradients(both: keras.Model, pixels: NDArray[np.uint8]) -> None:
    import tensorflow as tf

    maps = tf.convert_to_tensor(both(pixels[None].astype(np.float32), training=False)[1])
    after = keras.Sequential([keras.Input(maps.shape[1:]), *both.layers[-3:]])
    with tf.GradientTape() as tape:
        tape.watch(maps)
        score = after(maps, training=False)[0, MI]
    weights = tape.gradient(score, maps).numpy().mean((0, 1, 2))
    expected = np.maximum(maps.numpy()[0] @ weights, 0)
    assert explain(both, pixels, MI) == pytest.approx(expected / expected.max(), abs=1e-3)


@pytest.mark.parametrize("method", [*FAST, *(pytest.param(one, marks=pytest.mark.faults) for one in SLOW)])
def test_a_network_of_random_parameters_is_explained_otherwise(
    both: keras.Model, pixels: NDArray[np.uint8], method: str
) -> None:
    kept = both.get_weights()
    before = explain(both, pixels, MI, method)  # type: ignore[arg-type]
    rng = np.random.default_rng(1)
    try:
        both.set_weights([rng.permutation(one.ravel()).reshape(one.shape) for one in kept])
        after = explain(both, pixels, MI, method)  # type: ignore[arg-type]
    finally:
        both.set_weights(kept)
    assert not np.nan_to_num(np.corrcoef(before.ravel(), after.ravel())[0, 1]) > 0.8


def test_what_the_pixels_are_given_adds_up_to_the_change_of_the_logit() -> None:
    """Completeness (Sundararajan 2017), on a smooth small network: a deep one is too rough for few steps."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((24, 32, 3))
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(inputs)
    maps = keras.layers.Conv2D(6, 5, activation="tanh")(scaled)
    logits = keras.layers.Dense(3, name="label")(keras.layers.GlobalAveragePooling2D()(maps))
    smooth = keras.Model(inputs, [logits, maps])
    picture = np.random.default_rng(1).integers(0, 256, (24, 32, 3)).astype(np.float32)
    change = logit(smooth, picture, 1) - logit(smooth, np.full_like(picture, 255.0), 1)
    assert abs(change) > 0.05
    assert float(attributions(smooth, picture[None], 1).sum()) == pytest.approx(change, rel=0.05)


def test_blanking_where_it_is_hot_takes_more_from_the_label_than_elsewhere() -> None:
    """Deletion and insertion (Petsiuk 2018) on real sheets, against as large a part elsewhere; in the trained size."""
    exams = [exam for exam in read_manifest(need_data()) if exam.kind == "sheet" and exam.label != "history_of_mi"]
    config = config_from(read_card(shipped_model_dir()).config)
    whole = sized(config.height, config.width)
    rng = np.random.default_rng(0)
    gained = [_hot_less_elsewhere(whole, exams[place], rng) for place in rng.permutation(len(exams))[:8]]
    deleted, inserted = np.mean(gained, axis=0)
    assert deleted < 0
    assert inserted > 0


def _hot_less_elsewhere(whole: keras.Model, exam: Exam, rng: np.random.Generator) -> tuple[float, float]:
    """By how much the label's lead over the others differs, after hiding the hot part and after showing it alone."""
    shape = whole.input_shape[1:3]
    pixels = prepare(service_picture(exam), *shape).pixels.astype(np.float32)
    label = int(np.argmax(np.asarray(whole(pixels[None], training=False)[0])[0]))
    heat = enlarged(explain(whole, pixels.astype(np.uint8), label), shape)
    hot = heat >= np.quantile(heat, 0.8)
    parts = np.stack([hot, *(np.roll(hot, [int(rng.integers(n)) for n in shape], (0, 1)) for _ in range(4))])[..., None]
    leads = []
    for hidden in (parts, ~parts):
        logits = np.asarray(whole(np.where(hidden, 255.0, pixels).astype(np.float32), training=False)[0])
        lead = logits[:, label] - np.delete(logits, label, axis=1).max(axis=1)
        leads.append(float(lead[0] - lead[1:].mean()))
    return leads[0], leads[1]


def test_an_unknown_method_is_refused_with_those_that_there_are(both: keras.Model, pixels: NDArray[np.uint8]) -> None:
    with pytest.raises(Rejected, match=r"grad_cam\+\+"):
        explain(both, pixels, MI, "guess")  # type: ignore[arg-type]


def test_leads_are_named_where_the_layout_is_known_and_only_there() -> None:
    heat = np.zeros((10, 20), np.float32)
    heat[:5, 10:] = 1.0
    area = Box(0.0, 0.0, 1.0, 1.0)
    halves = {"I": Box(0, 0, 0.5, 0.5), "V1": Box(0.5, 0, 1, 0.5), "II": Box(0, 0.5, 1, 1)}
    assert name_leads(heat, area, tuple(LeadBox(*one) for one in halves.items())) == ["V1"]
    assert name_leads(heat, area, ()) == []


def test_a_shuffled_layout_does_not_keep_its_old_lead_names() -> None:
    heat = np.zeros((10, 20), np.float32)
    heat[:5, 10:] = 1.0
    swapped = (LeadBox("V1", Box(0, 0, 0.5, 0.5)), LeadBox("I", Box(0.5, 0, 1, 0.5)))
    assert name_leads(heat, Box(0.0, 0.0, 1.0, 1.0), swapped) == ["I"]


def test_a_region_is_described_where_no_lead_can_be_named() -> None:
    heat = np.zeros((9, 9), np.float32)
    heat[7, 1] = 1.0
    assert describe_region(heat) == "lower left of the ECG"


def test_a_file_is_explained_with_its_label_and_its_picture_reddened(tmp_path: Path) -> None:
    source = draw_sheet(synthetic_signal()).rgb
    Image.fromarray(source).save(tmp_path / "ecg.png")
    said = explain_file(tmp_path / "ecg.png", tmp_path / "heat.png")
    assert any(label in said for label in LABELS)
    shown = np.asarray(Image.open(tmp_path / "heat.png"))
    assert shown.shape == source.shape
    assert (shown != source).any()


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "note.png").write_text("no picture")
    with pytest.raises(Rejected, match=r"note\.png"):
        explain_file(tmp_path / "note.png", tmp_path / "heat.png")
