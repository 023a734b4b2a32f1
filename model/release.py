"""A trained network becomes a released model: weights, golden outputs and card in one folder."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from core.errors import BadModel
from core.values import ModelIdentity
from model.augmentation import augment_sheet
from model.card import GOLDEN, WEIGHTS, Card, sha256_of
from model.classifier import Classifier, compiled_forward, softmax
from model.config import Config, read_config
from model.network import network_in
from model.preprocessing import PREPROCESSING_VERSION, prepare
from model.rendering import draw_sheet, random_style
from model.synthetic import synthetic_signal
from model.weights_file import load_weights

NAME = "ecg-node adaptive-focal ResNet50"
CALIBRATION = "calibration.json"
UNCALIBRATED = {"temperature": 1.0, "confidence": 0.4}


def release(
    weights: Path,
    config: Config,
    folder: Path,
    version: str,
    calibration: dict[str, float],
    results: dict[str, Any] | None = None,
) -> ModelIdentity:
    """Write a model folder and load it once as the service would; `calibration` holds temperature and thresholds.

    Raises BadModel when what was written does not load.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if weights.resolve() != (folder / WEIGHTS).resolve():
        shutil.copyfile(weights, folder / WEIGHTS)
    temperature = calibration["temperature"]
    pixels = golden_pixels(config)
    np.savez_compressed(folder / GOLDEN, pixels=pixels, probabilities=_outputs(folder, config, pixels, temperature))
    Card(
        name=NAME,
        version=version,
        weights_sha256=sha256_of(folder / WEIGHTS),
        golden_sha256=sha256_of(folder / GOLDEN),
        preprocessing_version=PREPROCESSING_VERSION,
        calibration_version=version,
        temperature=temperature,
        thresholds={name: value for name, value in calibration.items() if name != "temperature"},
        config=asdict(config),
        libraries={"keras": keras.__version__, "numpy": np.__version__},
        results=results or {},
    ).save(folder)
    return Classifier.load(folder).identity


def golden_pixels(config: Config) -> NDArray[np.uint8]:
    """Network inputs of ECGs made by formulas, in several layouts: uint8 (pictures, height, width)."""
    rng = np.random.default_rng(7)
    pictures = []
    for number, (rate, lift, rhythm) in enumerate(
        [(70, 0.0, "regular"), (130, 0.0, "irregular"), (85, 0.35, "regular"), (48, -0.15, "regular")]
    ):
        signal = synthetic_signal(rate, lift, rhythm, seed=number)  # type: ignore[arg-type]
        for rgb in (draw_sheet(signal).rgb, augment_sheet(draw_sheet(signal, random_style(rng)).rgb, rng)):
            pictures.append(prepare(rgb, config.height, config.width).pixels[:, :, 0])
    return np.stack(pictures)


def _outputs(folder: Path, config: Config, pixels: NDArray[np.uint8], temperature: float) -> NDArray[np.float32]:
    network = network_in(config, "float32")
    load_weights(network, folder / WEIGHTS)
    logits, _maps = compiled_forward(network, len(pixels), (config.height, config.width), config.views)(pixels)
    return softmax(logits / temperature)


def release_trained(trained: Path, models: Path, version: str, calibration: Path | None = None) -> Path:
    """Release what `train` wrote as `models`/<sha256 of the weights>; the new folder. Raises BadModel."""
    if not (trained / WEIGHTS).exists():
        raise BadModel(f"{trained} holds no {WEIGHTS}; let `ecg-node model train` finish first")
    chosen = calibration or trained / CALIBRATION
    values = json.loads(chosen.read_text(encoding="utf-8")) if chosen.exists() else UNCALIBRATED
    folder = models / sha256_of(trained / WEIGHTS)
    release(trained / WEIGHTS, read_config(trained / "config.json"), folder, version, values)
    return folder
