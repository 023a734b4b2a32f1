"""ResNet50 with global average pooling and one dense layer, cut in two where the frozen part ends.

He et al. 2015 (ResNet50), He et al. 2016 (ResNet50V2). The head is linear in the pooled maps, so that the class
activation map (Zhou et al. 2016), which is Grad-CAM for such a head, comes out of the same forward pass.
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from core.errors import BadModel
from model.config import Config
from model.labels import LABELS

CUT = {"resnet50v2": "conv4_block6_out", "resnet50": "conv4_block6_out"}
MAPS = {"resnet50v2": "post_relu", "resnet50": "conv5_block3_out"}
HEAD = "label"
DROP = "drop"
# ImageNet means of red, green and blue in 0 to 255, which the reference ResNet50 weights expect to be taken off
_MEANS = (-123.68, -116.779, -103.939)


def network_in(config: Config, precision: str) -> keras.Model:
    """An untrained network of a keras dtype policy, whatever the process trained or runs besides."""
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(precision)
    try:
        return build_network(config)
    finally:
        keras.mixed_precision.set_dtype_policy(before)


def build_network(config: Config) -> keras.Model:
    """An untrained network: float (batch, height, width, 3) in 0 to 255 to logits (batch, labels)."""
    inputs = keras.Input((config.height, config.width, 3), name="picture")
    if config.variant == "resnet50v2":
        scaled = layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(inputs)
        base = keras.applications.ResNet50V2(include_top=False, weights=None, input_tensor=scaled)
    else:
        scaled = layers.Rescaling(1.0, offset=list(_MEANS), name="scale")(inputs)
        base = keras.applications.ResNet50(include_top=False, weights=None, input_tensor=scaled)
    maps = base.output if config.last_stage == "residual" else _shortcut_alone(base, config)
    pooled = layers.GlobalAveragePooling2D(name="pooled", dtype="float32")(maps)
    dropped = layers.Dropout(config.dropout, name=DROP)(pooled)
    logits = layers.Dense(len(LABELS), name=HEAD, dtype="float32")(dropped)
    return keras.Model(inputs, logits, name=config.variant)


def _shortcut_alone(base: keras.Model, config: Config) -> Any:
    """The last stage without its residual branches: what ResNet50V2 is while their last kernels are zero."""
    if config.variant != "resnet50v2":
        raise BadModel("last_stage shortcut is made for variant resnet50v2; set last_stage to residual")
    straight = base.get_layer("conv5_block1_0_conv").output
    return layers.ReLU(name="post_relu")(layers.BatchNormalization(epsilon=1.001e-5, name="post_bn")(straight))


def trunk_of(network: keras.Model) -> keras.Model:
    """The part that stays frozen: pictures to the activations at the cut."""
    return keras.Model(network.input, network.get_layer(CUT[network.name]).output, name="trunk")


def top_of(network: keras.Model) -> keras.Model:
    """The part that is trained on cached activations; shares its layers with the network."""
    return keras.Model(network.get_layer(CUT[network.name]).output, network.output, name="top")


def explained(network: keras.Model) -> keras.Model:
    """The network with its last feature maps beside the logits."""
    return keras.Model(network.input, [network.output, network.get_layer(MAPS[network.name]).output], name="explained")


def load_imagenet(network: keras.Model, path: Path) -> int:
    """Take ImageNet weights from a local file; how many layers were filled. Raises BadModel.

    `.npz`: ResNet50V2 in TF-slim's names, kernels (out, height, width, in), batch norm folded, stages that are missing
    stay as they are. `.h5`: a weights file of keras.applications.
    """
    if not path.exists():
        raise BadModel(f"{path} is not there; name a local file of ImageNet weights")
    if path.suffix == ".npz":
        if network.name != "resnet50v2":
            raise BadModel(f"{path.name} holds ResNet50V2; set variant to resnet50v2")
        return _load_slim(network, path)
    reference = keras.applications.ResNet50V2 if network.name == "resnet50v2" else keras.applications.ResNet50
    loaded = reference(include_top=False, weights=str(path), input_shape=network.input_shape[1:])
    return _copy(loaded, network)


def _copy(source: keras.Model, target: keras.Model) -> int:
    filled = 0
    wanted = {layer.name for layer in target.layers}
    for layer in source.layers:
        if layer.weights and layer.name in wanted:
            target.get_layer(layer.name).set_weights(layer.get_weights())
            filled += 1
    return filled


def _load_slim(network: keras.Model, path: Path) -> int:
    arrays = np.load(path, allow_pickle=False)
    filled = 0
    for layer in network.layers:
        found = _slim_weights(layer, arrays)
        if found:
            layer.set_weights(found)
            filled += 1
    return filled


def _slim_weights(layer: keras.Layer, arrays: np.lib.npyio.NpzFile) -> list[NDArray[np.float32]] | None:
    """Weights of one layer of ResNet50V2 out of TF-slim's folded ones; None when they are missing."""
    name = layer.name
    if name == "conv1_conv":
        return [_kernel(arrays["conv1_weights"]), arrays["conv1_Conv2D_bias"].astype(np.float32)]
    if name == "post_bn":
        return _affine(arrays, "postnorm_FusedBatchNorm")
    parts = name.split("_", 2)  # conv3_block2_1_conv
    if len(parts) != 3 or not parts[0].startswith("conv") or not parts[1].startswith("block"):
        return None
    unit = f"block{int(parts[0][4:]) - 1}_unit_{parts[1][5:]}_bottleneck_v2"
    return _unit_weights(arrays, unit, parts[2])


def _unit_weights(arrays: np.lib.npyio.NpzFile, unit: str, part: str) -> list[NDArray[np.float32]] | None:
    if part == "preact_bn":
        return _affine(arrays, f"{unit}_preact_FusedBatchNorm")
    if part in ("0_conv", "3_conv"):
        slim = f"{unit}_{'shortcut' if part == '0_conv' else 'conv3'}"
        if f"{slim}_weights" not in arrays:
            return None
        return [_kernel(arrays[f"{slim}_weights"]), arrays[f"{slim}_Conv2D_bias"].astype(np.float32)]
    if part in ("1_conv", "2_conv"):
        slim = f"{unit}_conv{part[0]}_weights"
        return [_kernel(arrays[slim])] if slim in arrays else None
    if part in ("1_bn", "2_bn"):
        slim = f"{unit}_conv{part[0]}"
        if f"{slim}_weights" not in arrays:
            return None
        bias = arrays[f"{slim}_Conv2D_bias"].astype(np.float32)
        return _identity_norm(np.ones_like(bias), bias)
    return None


def _kernel(array: NDArray[np.float16]) -> NDArray[np.float32]:
    return array.astype(np.float32).transpose(1, 2, 3, 0)


def _affine(arrays: np.lib.npyio.NpzFile, name: str) -> list[NDArray[np.float32]] | None:
    if f"{name}_mul_0_param" not in arrays:
        return None
    return _identity_norm(
        arrays[f"{name}_mul_0_param"].astype(np.float32), arrays[f"{name}_add_param"].astype(np.float32)
    )


def _identity_norm(gamma: NDArray[np.float32], beta: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """A folded batch norm as a layer: scale and shift over mean 0 and variance 1."""
    return [gamma, beta, np.zeros_like(gamma), np.ones_like(gamma)]
