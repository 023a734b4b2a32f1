"""Released models in folders, found by their sha256; imports no network library."""

from dataclasses import dataclass
from pathlib import Path

from core.errors import BadModel
from core.settings import Settings
from model.card import CARD, Card, read_card, sha256_of, shipped_model_dir

_SHORTEST = 6


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model whose files agree with its card; `card_sha256` tells two calibrations of the same weights apart."""

    folder: Path
    card: Card
    card_sha256: str


def read_model(folder: Path) -> StoredModel:
    """A model folder, its files checked against its card. Raises BadModel."""
    return StoredModel(folder, read_card(folder), sha256_of(folder / CARD))


def start_folder(settings: Settings) -> Path:
    """The model that serves until one is released."""
    return settings.model_dir or shipped_model_dir()


def models_folder(settings: Settings) -> Path:
    """Where models lie by the sha256 of their weights."""
    return settings.models_dir or settings.data_dir / "models"


def model_folders(settings: Settings) -> list[Path]:
    """Every folder that may hold a model, the released ones first."""
    inside = models_folder(settings)
    found = sorted(path for path in inside.iterdir() if (path / CARD).exists()) if inside.is_dir() else []
    return [*found, *dict.fromkeys((start_folder(settings), shipped_model_dir()))]


def find_model(settings: Settings, sha256: str) -> StoredModel:
    """The model whose weights' sha256 begins so; raises BadModel when there is none, or more than one."""
    wanted = sha256.lower()
    if len(wanted) < _SHORTEST:
        raise BadModel(f"{sha256}: give {_SHORTEST} characters of the sha256 at least; `ecg-node model ls` shows them")
    found: dict[str, StoredModel] = {}
    for folder in model_folders(settings):
        stored = read_model(folder)
        if stored.card.weights_sha256.startswith(wanted):
            found.setdefault(stored.card.weights_sha256, stored)
    if len(found) > 1:
        raise BadModel(f"{sha256} is the beginning of {len(found)} models; give more of it")
    if not found:
        raise BadModel(f"no model {sha256} in {models_folder(settings)}; `ecg-node model package` makes one there")
    return next(iter(found.values()))


def find_exact(settings: Settings, weights_sha256: str, card_sha256: str) -> StoredModel:
    """The very model that was released. Raises BadModel when it is not on this machine, or changed since."""
    for folder in model_folders(settings):
        if sha256_of(folder / CARD) == card_sha256:
            return read_model(folder)
    raise BadModel(
        f"the model of sha256 {weights_sha256[:12]} with the released card is not in {models_folder(settings)} on this "
        "machine, or its card was changed; copy it there, or release another"
    )
