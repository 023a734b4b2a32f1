"""The network as a TensorFlow SavedModel, for serving without this code; checked before it is handed out."""

from pathlib import Path
from typing import Any

import numpy as np

from core.errors import BadModel
from core.values import LABELS
from model.card import CARD, GOLDEN, WEIGHTS, Card, read_card, shipped_model_dir
from model.config import config_from

_TOLERANCE = 0.005  # in probability, from the golden outputs: the exported graph runs in float32


def export_saved_model(to: Path, model_dir: Path | None = None) -> str:
    """Write a SavedModel of a released model into a new folder; a line that says what was written. Raises BadModel.

    Its one function takes `pixels`, uint8 (batch, height, width) as `model.preprocessing.prepare` makes them, and
    answers calibrated `probabilities` (batch, labels) and `heat` (batch, rows, columns, labels), class activation maps.
    """
    if to.exists() and any(to.iterdir()):
        raise BadModel(f"{to} is not empty; name a new folder for the export")
    folder = model_dir or shipped_model_dir()
    card = read_card(folder)
    _save(card, folder / WEIGHTS, to)
    gap = disagreement(to, folder / GOLDEN)
    if not gap <= _TOLERANCE:
        raise BadModel(f"the export answers otherwise than the model (by {gap:.3f}); do not use {to}")
    (to / CARD).write_bytes((folder / CARD).read_bytes())
    made = f"TensorFlow {_tensorflow_version()}, model {card.weights_sha256[:12]}"
    return f"{to}: {made}; largest difference from the golden outputs {gap:.5f}"


def disagreement(exported: Path, golden: Path) -> float:
    """Largest difference in probability between an export, loaded afresh, and golden outputs."""
    import tensorflow as tf

    served = tf.saved_model.load(str(exported)).signatures["serving_default"]
    with np.load(golden, allow_pickle=False) as file:
        pixels, expected = file["pixels"], file["probabilities"]
    return float(np.abs(served(pixels=tf.constant(pixels))["probabilities"].numpy() - expected).max())


def _save(card: Card, weights: Path, to: Path) -> None:
    import tensorflow as tf

    from model.network import HEAD, explained, network_in
    from model.views import all_views, averaged
    from model.weights_file import load_weights

    config = config_from(card.config)
    network = network_in(config, "float32")
    load_weights(network, weights)
    module = tf.Module()
    module.network = explained(network)
    dense = tf.constant(network.get_layer(HEAD).get_weights()[0])

    def serve(pixels: Any) -> dict[str, Any]:
        grey = tf.cast(all_views(pixels, config.views), tf.float32)[..., None]
        logits, maps = module.network(tf.repeat(grey, 3, axis=-1), training=False)
        heat = tf.nn.relu(tf.einsum("bhwc,cl->bhwl", maps[: tf.shape(pixels)[0]], dense))
        return {"probabilities": tf.nn.softmax(averaged(logits, config.views) / card.temperature), "heat": heat}

    shape = tf.TensorSpec((None, config.height, config.width), tf.uint8, name="pixels")
    module.serve = tf.function(serve, input_signature=[shape])
    module.labels = tf.constant([str(label) for label in LABELS])
    tf.saved_model.save(module, str(to), signatures={"serving_default": module.serve})


def _tensorflow_version() -> str:
    import tensorflow as tf

    return str(tf.__version__)


if __name__ == "__main__":
    import sys

    print(export_saved_model(Path(sys.argv[1])))
