"""The network's shape, what is frozen in it, and weights that come from files."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from core.errors import BadModel
from model.config import Config
from model.network import build_network, explained, load_imagenet, top_of, trunk_of
from model.train import unfreeze_last
from model.weights_file import load_weights, save_weights
from tests.conftest import need_data

SMALL = Config(height=64, width=96, precision="float32", last_stage="residual")
PICTURES = np.random.default_rng(1).uniform(0, 255, (2, 64, 96, 3)).astype(np.float32)


@pytest.fixture(scope="module", params=["resnet50v2", "resnet50"])
def network(request: pytest.FixtureRequest) -> keras.Model:
    keras.utils.set_random_seed(5)
    return build_network(Config(height=64, width=96, variant=request.param, last_stage="residual"))


def answer(model: keras.Model, inputs: object) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(model(inputs, training=False)))


def test_the_trunk_and_the_top_make_the_whole(network: keras.Model) -> None:
    cut = answer(trunk_of(network), PICTURES)
    assert answer(top_of(network), cut) == pytest.approx(answer(network, PICTURES), abs=1e-4)


def test_pooled_maps_times_the_dense_layer_are_the_logits(network: keras.Model) -> None:
    logits, maps = explained(network)(PICTURES, training=False)
    kernel, bias = network.get_layer("label").get_weights()
    pooled = ops.convert_to_numpy(maps).mean((1, 2))
    assert pooled @ kernel + bias == pytest.approx(np.asarray(logits), abs=1e-4)


def test_weights_come_back_from_their_file(network: keras.Model, tmp_path: Path) -> None:
    expected = answer(network, PICTURES)
    save_weights(network, tmp_path / "weights.npz")
    fresh = build_network(Config(height=64, width=96, variant=network.name, last_stage="residual"))
    assert np.abs(answer(fresh, PICTURES) - expected).max() > 0.01
    load_weights(fresh, tmp_path / "weights.npz")
    assert answer(fresh, PICTURES) == pytest.approx(expected, abs=float(0.01 * np.abs(expected).max()))


def test_imagenet_weights_come_from_a_local_keras_file(network: keras.Model, tmp_path: Path) -> None:
    make = keras.applications.ResNet50V2 if network.name == "resnet50v2" else keras.applications.ResNet50
    keras.utils.set_random_seed(9)
    reference = make(include_top=False, weights=None, input_shape=(64, 96, 3))
    reference.save_weights(tmp_path / "imagenet.weights.h5")
    assert load_imagenet(network, tmp_path / "imagenet.weights.h5") > 50
    for name in ("conv1_conv", "conv5_block3_3_conv"):
        assert (network.get_layer(name).get_weights()[0] == reference.get_layer(name).get_weights()[0]).all()


def test_a_missing_weights_file_is_named(network: keras.Model, tmp_path: Path) -> None:
    with pytest.raises(BadModel, match=r"gone\.npz is not there"):
        load_imagenet(network, tmp_path / "gone.npz")


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    one = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="label")])
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="label")])
    save_weights(one, tmp_path / "weights.npz")
    with pytest.raises(BadModel, match="does not fit layer label"):
        load_weights(other, tmp_path / "weights.npz")


def test_a_pickle_in_the_weights_file_is_not_run(tmp_path: Path) -> None:
    np.savez(tmp_path / "weights.npz", **{"label/0": np.array([print], dtype=object)})
    head = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="label")])
    with pytest.raises(BadModel, match="cannot be read as weights"):
        load_weights(head, tmp_path / "weights.npz")


def test_the_reference_network_trains_its_last_twenty_layers() -> None:
    config = Config(height=64, width=96, variant="resnet50", last_stage="residual")
    top = top_of(build_network(config))
    unfreeze_last(top, config)
    trained = [layer for layer in top.layers if layer.trainable and layer.weights]
    frozen = [layer for layer in top.layers if not layer.trainable and layer.weights]
    assert top.get_layer("label") in trained
    assert top.get_layer("conv5_block1_1_conv") in frozen
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in trained)


def test_partial_imagenet_weights_fill_the_frozen_part() -> None:
    network = build_network(SMALL)
    before = {layer.name: [one.copy() for one in layer.get_weights()] for layer in network.layers if layer.weights}
    load_imagenet(network, need_data("imagenet_resnet50v2_stages1-3.npz"))
    for layer in trunk_of(network).layers:
        if layer.weights and isinstance(layer, keras.layers.Conv2D):
            assert not np.array_equal(layer.get_weights()[0], before[layer.name][0]), layer.name
