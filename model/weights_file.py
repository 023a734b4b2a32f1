"""Weights as plain arrays: nothing in the file can run when it is read."""

import zipfile
from pathlib import Path

import keras
import numpy as np

from core.errors import BadModel


def save_weights(network: keras.Model, path: Path) -> None:
    """Every layer's arrays as `layer/0`, `layer/1` ...; kernels in float16, vectors in float32."""
    arrays = {}
    for layer in network.layers:
        for place, array in enumerate(layer.get_weights()):
            kept = array.astype(np.float16 if array.ndim > 1 else np.float32)
            if not np.isfinite(kept).all():
                raise BadModel(f"{layer.name} does not fit float16; train with more weight decay")
            arrays[f"{layer.name}/{place}"] = kept
    np.savez_compressed(path, **arrays)


def load_weights(network: keras.Model, path: Path) -> None:
    """Fill a network. Raises BadModel when a layer is missing, or of another shape, or left over."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name].astype(np.float32) for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise BadModel(f"{path} cannot be read as weights: {error}") from error
    for layer in network.layers:
        wanted = layer.get_weights()
        found = [arrays.pop(f"{layer.name}/{place}", None) for place in range(len(wanted))]
        if any(one is None or one.shape != other.shape for one, other in zip(found, wanted, strict=True)):
            raise BadModel(f"{path} does not fit layer {layer.name}; it belongs to another configuration")
        if wanted:
            layer.set_weights(found)
    if arrays:
        raise BadModel(f"{path} holds layers that the network lacks: {', '.join(sorted(arrays)[:3])}")
