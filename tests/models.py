"""Second models for tests, made from the shipped one by another bias of its last layer: no training, own sha256."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from model.card import CARD, GOLDEN, WEIGHTS, read_card, sha256_of, shipped_model_dir
from model.store import StoredModel, read_model


def make_variant(
    models: Path, version: str, bias: Sequence[float] = (0.0, 0.0, 0.0), **thresholds: float
) -> StoredModel:
    """A model under `models`/<sha256> with the shipped model's logits and `bias`; card and golden outputs agree."""
    folder = models / version
    folder.mkdir(parents=True)
    shipped = shipped_model_dir()
    with np.load(shipped / WEIGHTS, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    arrays["label/1"] = (arrays["label/1"] + np.asarray(bias)).astype(np.float32)
    np.savez(folder / WEIGHTS, **arrays)
    card = read_card(shipped)
    with np.load(shipped / GOLDEN, allow_pickle=False) as file:
        pixels, before = file["pixels"], file["probabilities"]
    raised = before.astype(np.float64) * np.exp(np.asarray(bias, np.float64) / card.temperature)
    np.savez(folder / GOLDEN, pixels=pixels, probabilities=(raised / raised.sum(1, keepdims=True)).astype(np.float32))
    fields = json.loads((shipped / CARD).read_text(encoding="utf-8"))
    fields |= {"version": version, "calibration_version": version, "thresholds": card.thresholds | thresholds}
    fields |= {"weights_sha256": sha256_of(folder / WEIGHTS), "golden_sha256": sha256_of(folder / GOLDEN)}
    (folder / CARD).write_text(json.dumps(fields), encoding="utf-8")
    final = models / str(fields["weights_sha256"])
    shutil.move(folder, final)
    return read_model(final)
