"""What in a picture spoke for a label: four methods behind one function.

Grad-CAM (Selvaraju 2017; closed form for a pooling head), Grad-CAM++ (Chattopadhay 2018), Score-CAM (Wang 2020),
Integrated Gradients (Sundararajan 2017). Heat is where the network looked, not proof of why.
"""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import keras
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.errors import Rejected
from core.values import LABELS, Box, LeadBox, Picture
from model.card import WEIGHTS, read_card, shipped_model_dir
from model.classifier import Classifier
from model.config import config_from
from model.heat import activation_map, heat_over_area
from model.network import HEAD, build_network, explained
from model.preprocessing import prepare
from model.weights_file import load_weights

Method = Literal["grad_cam", "grad_cam++", "integrated_gradients", "score_cam"]
_STEPS = 32  # of the path of integrated gradients
_STRONGEST = 32  # maps that Score-CAM tries, strongest first
_NAMED_HEAT = 0.5  # mean heat of a lead's box, as a share of the hottest lead's, from which it is named


def load_explained(model_dir: Path | None = None) -> keras.Model:
    """A released network in float32 with its last maps beside the logits. Raises BadModel."""
    folder = model_dir or shipped_model_dir()
    network = build_network(config_from(read_card(folder).config))
    load_weights(network, folder / WEIGHTS)
    return explained(network)


def explain(
    both: keras.Model, pixels: NDArray[np.uint8], label: int, method: Method = "grad_cam"
) -> NDArray[np.float32]:
    """Heat 0 to 1 of a network input uint8 (height, width, 3), of the size of its last maps or of the input."""
    methods: dict[str, Callable[..., NDArray[np.float32]]] = {
        "grad_cam": _grad_cam,
        "grad_cam++": _grad_cam_plus,
        "integrated_gradients": _integrated_gradients,
        "score_cam": _score_cam,
    }
    if method not in methods:
        raise Rejected(f"{method} is no method of explanation; use one of {', '.join(get_args(Method))}")
    heat = methods[method](both, pixels.astype(np.float32)[None], label)
    return (heat / heat.max() if heat.max() > 0 else heat).astype(np.float32)


def _run(both: keras.Model, inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    logits, maps = both(inputs, training=False)
    return keras.ops.convert_to_numpy(logits), keras.ops.convert_to_numpy(maps)


def _dense(both: keras.Model, label: int) -> NDArray[np.float32]:
    return np.asarray(both.get_layer(HEAD).get_weights()[0][:, label], np.float32)


def _grad_cam(both: keras.Model, inputs: NDArray[np.float32], label: int) -> NDArray[np.float32]:
    return activation_map(_run(both, inputs)[1][0], _dense(both, label))


def _grad_cam_plus(both: keras.Model, inputs: NDArray[np.float32], label: int) -> NDArray[np.float32]:
    """Closed form: the gradient of a logit over a map is its dense weight over the map's pixels, everywhere."""
    maps = _run(both, inputs)[1][0]
    gradient = _dense(both, label) / (maps.shape[0] * maps.shape[1])
    weight = gradient**2 / (2 * gradient**2 + maps.sum(axis=(0, 1)) * gradient**3 + 1e-12)
    return np.maximum(maps @ (np.abs(weight) * np.maximum(gradient, 0)), 0).astype(np.float32)


def _score_cam(both: keras.Model, inputs: NDArray[np.float32], label: int) -> NDArray[np.float32]:
    """Each map as a mask over the picture: what the label's probability is when only that is left to see."""
    maps = _run(both, inputs)[1][0]
    chosen = np.argsort(-maps.max(axis=(0, 1)))[:_STRONGEST]
    white = np.full_like(inputs[0], 255.0)
    heat = np.zeros(maps.shape[:2], np.float32)
    nothing = _probability(both, white[None], label)[0]
    for channel in chosen:
        mask = maps[:, :, channel]
        mask = (mask - mask.min()) / (np.ptp(mask) + 1e-9)
        large = np.asarray(Image.fromarray(mask).resize(inputs.shape[2:0:-1], Image.Resampling.BILINEAR))[..., None]
        shown = white + (inputs[0] - white) * large
        heat += max(0.0, float(_probability(both, shown[None], label)[0] - nothing)) * mask
    return heat


def _probability(both: keras.Model, inputs: NDArray[np.float32], label: int) -> NDArray[np.float32]:
    logits = _run(both, inputs)[0]
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray((raised / raised.sum(axis=1, keepdims=True))[:, label])


def _integrated_gradients(both: keras.Model, inputs: NDArray[np.float32], label: int) -> NDArray[np.float32]:
    return np.abs(attributions(both, inputs, label)).sum(axis=3)[0]


def attributions(
    both: keras.Model, inputs: NDArray[np.float32], label: int, steps: int = _STEPS
) -> NDArray[np.float32]:
    """What each pixel adds to the label's logit on the way from white paper; they sum to the logit's change.

    The network answers most to the first trace of ink, so that steps are dense there: a thousandth of the way, then
    longer by one factor.
    """
    white = np.full_like(inputs, 255.0)
    total = np.zeros_like(inputs)
    edges = np.concatenate([[0.0], np.geomspace(1e-3, 1.0, steps)])
    for begin, end in pairwise(edges):
        total += (end - begin) * _gradient(both, white + (inputs - white) * (begin + end) / 2, label)
    return (inputs - white) * total


def _gradient(both: keras.Model, inputs: NDArray[np.float32], label: int) -> NDArray[np.float32]:
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(lambda x: both(x, training=False)[0][0, label])(keras.ops.array(inputs)))
    if keras.backend.backend() != "tensorflow":
        raise Rejected("integrated gradients need the TensorFlow or JAX backend; set KERAS_BACKEND")
    import tensorflow as tf

    at = tf.convert_to_tensor(inputs)
    with tf.GradientTape() as tape:
        tape.watch(at)
        logit = both(at, training=False)[0][0, label]
    return np.asarray(tape.gradient(logit, at))


def name_leads(heat: NDArray[np.float32], area: Box, leads: tuple[LeadBox, ...]) -> list[str]:
    """Leads that carry most heat, hottest first; only for a layout that is known, else nothing is named."""
    means: dict[str, float] = {}
    for lead in leads:
        part = _part(heat, area, lead.box)
        if part.size:
            means[lead.lead] = max(means.get(lead.lead, 0.0), float(part.mean()))
    hottest = max(means.values(), default=0.0)
    return [
        name for name in sorted(means, key=lambda one: -means[one]) if hottest and means[name] >= _NAMED_HEAT * hottest
    ]


def _part(heat: NDArray[np.float32], area: Box, box: Box) -> NDArray[np.float32]:
    height, width = heat.shape
    across, down = area.right - area.left, area.bottom - area.top
    left, right = ((edge - area.left) / across * width for edge in (box.left, box.right))
    top, bottom = ((edge - area.top) / down * height for edge in (box.top, box.bottom))
    return heat[max(0, round(top)) : max(0, round(bottom)), max(0, round(left)) : max(0, round(right))]


def describe_region(heat: NDArray[np.float32]) -> str:
    """Where the heat is, in thirds of the ECG, for a picture whose layout is not known."""
    rows, columns = np.array_split(heat, 3, axis=0), ("left", "middle", "right")
    cells = {
        (down, across): float(cell.mean())
        for down, row in zip(("upper", "middle", "lower"), rows, strict=True)
        for across, cell in zip(columns, np.array_split(row, 3, axis=1), strict=True)
    }
    down, across = max(cells, key=lambda one: cells[one])
    return f"{down} {across} of the ECG"


def explain_file(image: Path, to: Path, method: Any = "grad_cam", model_dir: Path | None = None) -> str:
    """Write a picture with its heat laid over; one line on what was said and where. Raises Rejected."""
    try:
        rgb = np.asarray(Image.open(image).convert("RGB"))
    except OSError as error:
        raise Rejected(f"{image} is no picture that can be read: {error}") from error
    both = load_explained(model_dir)
    prepared = prepare(rgb, *both.input_shape[1:3])
    judgement = Classifier.load(model_dir or shipped_model_dir()).classify([Picture(rgb)])[0]
    if judgement.probabilities is None:
        return f"cannot be judged: {judgement.reason}; nothing to explain"
    label = int(np.argmax(judgement.probabilities))
    heat, area = heat_over_area(explain(both, prepared.pixels, label, method), prepared)
    Image.fromarray(overlaid(rgb, heat, area)).save(to)
    said = judgement.label or f"uncertain, most likely {LABELS[label]}"
    return f"{said} ({max(judgement.probabilities):.0%}); {method} is hottest in the {describe_region(heat)}: {to}"


def overlaid(rgb: NDArray[np.uint8], heat: NDArray[np.float32], area: Box) -> NDArray[np.uint8]:
    """The picture, reddened where the heat is."""
    height, width = rgb.shape[:2]
    left, right = round(area.left * width), round(area.right * width)
    top, bottom = round(area.top * height), round(area.bottom * height)
    large = np.asarray(Image.fromarray(heat).resize((right - left, bottom - top), Image.Resampling.BILINEAR))[..., None]
    shown = rgb.astype(np.float32)
    part = shown[top:bottom, left:right]
    shown[top:bottom, left:right] = part * (1 - 0.5 * large) + np.array([255.0, 60.0, 0.0]) * 0.5 * large
    return np.clip(shown, 0, 255).astype(np.uint8)
