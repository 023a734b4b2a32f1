"""Where ResNet50V2's last stage starts when its ImageNet weights are missing.

The stage starts as a function that is known to be useful: half of its maps pass the stage before on, the other half
pass on only what exceeds a threshold. Their means over the picture are what average and maximum pooling would see, so
that global average pooling and one dense layer start as a classifier over frozen features. The residual branches start
silent (their last kernel is zero, as in Goyal et al. 2017) and grow from there.
"""

import keras
import numpy as np
from numpy.typing import NDArray

RARE = 0.97  # quantile of a map's values that its second copy must exceed: peaks such as QRS complexes and ST segments
_SAMPLE = 256  # pictures from which thresholds and scales are taken


def start_last_stage(network: keras.Model, activations: NDArray[np.float16]) -> None:
    """Set the last stage from frozen activations (pictures, height, width, channels) of training pictures."""
    sample = activations[:: max(1, len(activations) // _SAMPLE)].astype(np.float32)
    passed = keras.ops.convert_to_numpy(network.get_layer("conv5_block1_preact_bn")(sample)).clip(0).astype(np.float32)
    channels = passed.shape[-1]
    threshold = np.quantile(passed.reshape(-1, channels)[::7], RARE, axis=0).astype(np.float32)
    kernel = np.concatenate([np.eye(channels, dtype=np.float32)] * 2, axis=1)[None, None]
    network.get_layer("conv5_block1_0_conv").set_weights([kernel, np.concatenate([np.zeros(channels), -threshold])])
    _scale(network.get_layer("post_bn"), passed, threshold)
    for layer in network.layers:
        if layer.name.startswith("conv5") and layer.name.endswith("_3_conv"):
            layer.set_weights([np.zeros_like(one) for one in layer.get_weights()])


def _scale(norm: keras.Layer, passed: NDArray[np.float32], threshold: NDArray[np.float32]) -> None:
    """Give every pooled map a spread of one over pictures, so that one learning rate suits them all."""
    pooled = np.concatenate([passed.mean((1, 2)), np.maximum(passed - threshold, 0).mean((1, 2))], axis=1)
    scale = (1 / np.maximum(pooled.std(axis=0), 1e-3)).astype(np.float32)
    zeros = np.zeros_like(scale)
    variance = np.full_like(scale, 1.0 - norm.epsilon)
    norm.set_weights([scale, zeros, zeros, variance])
