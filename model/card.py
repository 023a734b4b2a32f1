"""The machine-readable card of a released model, and whether its weights are the ones it names."""

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from core.errors import BadModel

CARD = "card.json"
WEIGHTS = "weights.npz"
GOLDEN = "golden.npz"
_ONE_VIEW = {"views": 1}  # of models whose card does not name their views


@dataclass(frozen=True, slots=True)
class Card:
    """What a model is and how it is to be used; `config` is the training's, `results` what was measured."""

    name: str
    version: str
    weights_sha256: str
    golden_sha256: str
    preprocessing_version: str
    calibration_version: str
    temperature: float
    thresholds: dict[str, float]
    config: dict[str, Any]
    libraries: dict[str, str] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        from dataclasses import asdict

        (folder / CARD).write_text(json.dumps(asdict(self), indent=1, sort_keys=True) + "\n", encoding="utf-8")


def shipped_model_dir() -> Path:
    """The model that comes with the node."""
    return Path(__file__).resolve().parent / "weights"


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_card(folder: Path) -> Card:
    """The card of a model folder, its files checked against it. Raises BadModel."""
    path = folder / CARD
    if not path.exists():
        raise BadModel(f"{folder} holds no {CARD}; set model_dir to the folder of a released model, or leave it empty")
    try:
        card = Card(**json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, TypeError, UnicodeDecodeError) as error:
        raise BadModel(f"{path} is not a model card of this version: {error}; release the model again") from error
    card = replace(card, config=_ONE_VIEW | card.config)
    for name, expected in ((WEIGHTS, card.weights_sha256), (GOLDEN, card.golden_sha256)):
        _check(folder / name, expected)
    return card


def _check(path: Path, expected: str) -> None:
    if not path.exists():
        raise BadModel(f"{path} is missing; copy the released model again")
    found = sha256_of(path)
    if found != expected:
        raise BadModel(f"{path} has sha256 {found[:12]}, its card says {expected[:12]}; copy the released model again")
