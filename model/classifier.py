"""The released network in service: pictures in, judgements out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import BadModel, Rejected
from core.states import Reason
from core.values import LABELS, Box, Judgement, ModelIdentity, Picture
from model.card import GOLDEN, WEIGHTS, Card, read_card, shipped_model_dir
from model.config import Config, config_from
from model.gpu import Precision
from model.heat import activation_map, heat_over_area
from model.preprocessing import PREPROCESSING_VERSION, Prepared, has_same_input, prepare
from model.readability import judge_readability

# Largest difference in probability from the golden outputs: another processor or library rounds otherwise, a wrong
# weight or preprocessing step shows as more. bfloat16 keeps 8 bits of a product, float16 11, over fifty layers
AGREEMENT = {"float32": 0.005, "mixed_float16": 0.05, "mixed_bfloat16": 0.1}
LIBRARIES = ("keras", "tensorflow-cpu", "tensorflow", "jax", "numpy", "pillow")

Forward = Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], NDArray[np.float32]]]


def default_model_dir() -> Path:
    """The model that comes with the node."""
    return shipped_model_dir()


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """Judges pictures; make it with `load`."""

    identity: ModelIdentity
    card: Card
    _forward: Forward
    _dense: NDArray[np.float32]
    _shape: tuple[int, int]
    _batch: int
    _together: bool = False

    @classmethod
    def load(
        cls,
        model_dir: Path,
        threads: int = 0,
        precision: Precision = "float32",
        batch_size: int = 8,
        together: bool = False,
    ) -> "Classifier":
        """Check a released model against its card and its golden outputs, and warm it up. Raises BadModel."""
        card = read_card(model_dir)
        if not has_same_input(card.preprocessing_version):
            raise BadModel(
                f"the model was trained with preprocessing {card.preprocessing_version}, this node has "
                f"{PREPROCESSING_VERSION}; release a model trained with this version"
            )
        config = _config_of(card)
        network = _network(config, model_dir / WEIGHTS, threads, precision)
        forward = compiled_forward(network, None if together else 1, (config.height, config.width), config.views)
        dense = np.asarray(network.get_layer("label").get_weights()[0], np.float32)
        made = cls(_identity(card, config), card, forward, dense, (config.height, config.width), batch_size, together)
        made._check_agreement(model_dir / GOLDEN, AGREEMENT[precision])
        return made

    def classify(self, pictures: Sequence[Picture]) -> list[Judgement]:
        """A judgement for each picture, in order; the same whatever else is in the batch."""
        judgements: list[Judgement] = []
        for start in range(0, len(pictures), self._batch):
            judgements += self._judge([prepare(one.rgb, *self._shape) for one in pictures[start : start + self._batch]])
        return judgements

    def probabilities(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Calibrated probabilities (pictures, labels) of network inputs uint8 (pictures, height, width)."""
        logits = [self._run(pixels[start : start + self._batch])[0] for start in range(0, len(pixels), self._batch)]
        return softmax(np.concatenate(logits) / self.card.temperature)

    def _judge(self, prepared: Sequence[Prepared]) -> list[Judgement]:
        gates = [judge_readability(one) for one in prepared]
        readable = [number for number, (_score, reason) in enumerate(gates) if reason is None]
        logits, maps = np.zeros((0, len(LABELS)), np.float32), np.zeros((0, 1, 1, 1), np.float32)
        if readable:
            logits, maps = self._run(np.stack([prepared[number].pixels[:, :, 0] for number in readable]))
        answers = iter(zip(softmax(logits / self.card.temperature), maps, strict=True))
        return [
            self._answer(one, score, *next(answers)) if reason is None else _refused(one, score, reason)
            for one, (score, reason) in zip(prepared, gates, strict=True)
        ]

    def _answer(
        self, prepared: Prepared, score: float, probabilities: NDArray[np.float32], maps: NDArray[np.float32]
    ) -> Judgement:
        winner = int(probabilities.argmax())
        heat, area = heat_over_area(activation_map(maps, self._dense[:, winner]), prepared)
        sure = float(probabilities[winner]) >= self.card.thresholds["confidence"]
        return Judgement(
            LABELS[winner] if sure else None,
            None if sure else Reason.UNCERTAIN,
            tuple(float(one) for one in probabilities),  # type: ignore[arg-type]
            heat,
            area,
            score,
        )

    def _run(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logits and last maps, the views of a picture in one pass, or all pictures in one.

        On a CPU a picture a pass is as fast as passes of eight, a single ECG need not wait for seven, and no answer can
        depend on what else is in the batch.
        """
        if self._together:
            return self._forward(pixels)
        passes = [self._forward(pixels[number : number + 1]) for number in range(len(pixels))]
        return np.concatenate([logits for logits, _maps in passes]), np.concatenate([maps for _logits, maps in passes])

    def _check_agreement(self, golden: Path, tolerance: float) -> None:
        with np.load(golden, allow_pickle=False) as file:
            pixels, expected = file["pixels"], file["probabilities"]
        gap = float(np.abs(self.probabilities(pixels) - expected).max())
        if not gap <= tolerance:
            raise BadModel(
                f"the network answers otherwise than when it was released (by {gap:.3f}, {tolerance} is allowed); "
                "install the locked versions of its libraries"
            )


def softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Probabilities along the last axis, that sum to 1 in double precision before they are rounded."""
    raised = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True, initial=-np.inf))
    return (raised / raised.sum(axis=-1, keepdims=True)).astype(np.float32)


def _refused(prepared: Prepared, score: float, reason: Reason) -> Judgement:
    return Judgement(None, reason, None, None, Box(0.0, 0.0, 1.0, 1.0), score)


def _config_of(card: Card) -> Config:
    try:
        return config_from(card.config)
    except (TypeError, Rejected) as error:
        raise BadModel(f"the card's configuration is of another version: {error}; release the model again") from error


def _network(config: Config, weights: Path, threads: int, precision: Precision) -> Any:
    import keras

    from model.network import network_in
    from model.weights_file import load_weights

    if threads and keras.backend.backend() == "tensorflow":
        _limit_threads(threads)
    network = network_in(config, precision)
    load_weights(network, weights)
    return network


def _limit_threads(threads: int) -> None:
    import tensorflow as tf

    if tf.config.threading.get_intra_op_parallelism_threads() == threads:
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError as error:  # TensorFlow has begun to work in this process
        raise BadModel(f"threads can be set only before the first network of a process: {error}") from error


def compiled_forward(network: Any, batch: int | None, shape: tuple[int, int], views: int) -> Forward:
    """One pass of pictures' views, compiled once for one shape: mean logits, and last maps as they lie, in float32."""
    import keras

    from model.network import explained
    from model.views import all_views, averaged

    both = explained(network)

    def step(pixels: Any) -> Any:
        grey = keras.ops.cast(all_views(pixels, views), "float32")[..., None]
        logits, maps = both(keras.ops.repeat(grey, 3, axis=-1), training=False)
        lying = maps[: keras.ops.shape(pixels)[0]]
        return averaged(keras.ops.cast(logits, "float32"), views), keras.ops.cast(lying, "float32")

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        step = tf.function(step, input_signature=[tf.TensorSpec((batch, *shape), tf.uint8)])
    elif keras.backend.backend() == "jax":
        import jax

        step = jax.jit(step)

    def forward(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        logits, maps = step(pixels)
        return keras.ops.convert_to_numpy(logits), keras.ops.convert_to_numpy(maps)

    return forward


def _identity(card: Card, config: Config) -> ModelIdentity:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return ModelIdentity(
        name=card.name,
        version=card.version,
        weights_sha256=card.weights_sha256,
        preprocessing_version=PREPROCESSING_VERSION,
        calibration_version=card.calibration_version,
        input_height=config.height,
        input_width=config.width,
        explanation="class activation map of the last feature maps (Grad-CAM of a pooling head)",
        thresholds=card.thresholds,
        libraries=found,
    )
