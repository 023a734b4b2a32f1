"""Every number of a training, with its unit or reason; saved beside the weights."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from core.errors import Rejected
from model.views import OFFSETS

MOST_VIEWS = len(OFFSETS)
Loss = Literal["adaptive", "adaptive_immediate", "focal", "cross_entropy", "weighted_cross_entropy"]
Variant = Literal["resnet50v2", "resnet50"]


@dataclass(frozen=True, slots=True)
class Config:
    """One training."""

    variant: Variant = "resnet50v2"
    height: int = 384  # px; with the width keeps a 3x4 sheet's shape
    width: int = 640  # px; 0.4 mm of paper a pixel: ST segments survive
    last_stage: Literal["residual", "shortcut"] = "shortcut"  # shortcut: no residual branches there
    loss: Loss = "adaptive"
    gamma: float = 2.0  # start of gamma, as in the focal loss paper (Lin 2017)
    batch_size: int = 32
    head_epochs: int = 8  # phase 1: the trunk and the last stage are frozen
    epochs: int = 0  # phase 2, at most
    learning_rate: float = 5e-5  # Adam, phase 1: the head starts near its optimum
    tuning_rate: float = 1e-5  # Adam, phase 2: the maps are far from centred, and 2e-4 threw the head off in an epoch
    decay: float = 0.7  # of the learning rate after every epoch: the head must come to rest, not wander
    plateau_patience: int = 3  # epochs without progress before the rate is halved
    patience: int = 8  # epochs without progress before training stops
    watch: Literal["val_start_loss", "val_macro_recall"] = "val_start_loss"
    sheet_variants: int = 6  # augmented copies of each sheet
    signal_variants: int = 16  # drawn sheets of each record, each of another layout
    made_variants: int = 8  # infarctions made from each normal record
    views: int = 2  # of an ECG, judged together (model/views.py); each costs a forward pass
    label_smoothing: float = 0.0
    dropout: float = 0.0  # of the pooled features
    l2: float = 0.02  # of the dense layer in phase 1: two thousand maps, few hundred exams
    head_start: bool = True  # phase 1 starts at the optimum of weighted cross-entropy, else from nothing
    refit: bool = True  # phase 1 learns again from all exams, with the recalls that held out ones gave
    weight_decay: float = 1e-4  # phase 2
    mi_kinds: tuple[str, ...] = ("acute", "unstated", "old", "suspected")  # records that train as infarction
    not_normal: tuple[str, ...] = ("history_of_mi", "other")  # labels without an output that train as: not normal
    seed: int = 1
    precision: Literal["float32", "mixed_bfloat16"] = "mixed_bfloat16"

    def __post_init__(self) -> None:
        if not 1 <= self.views <= MOST_VIEWS:
            raise Rejected(f"a configuration with {self.views} views; 1 to {MOST_VIEWS} can be judged together")

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def read_config(path: Path) -> Config:
    """The configuration that a training saved."""
    return config_from(json.loads(path.read_text(encoding="utf-8")))


def config_from(values: dict[str, Any]) -> Config:
    """A configuration out of JSON. Raises TypeError on names that this version does not know."""
    return Config(**{name: tuple(one) if isinstance(one, list) else one for name, one in values.items()})
