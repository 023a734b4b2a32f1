"""How a training went, by epoch: loss, recall, alpha and gamma."""

import csv
from pathlib import Path

from core.errors import Rejected
from model.labels import LABELS

_PANELS = {
    "loss": ("loss", "val_start_loss"),
    "recall": tuple(f"recall_{number}" for number in range(len(LABELS))),
    "alpha": tuple(f"alpha_{number}" for number in range(len(LABELS))),
    "gamma": tuple(f"gamma_{number}" for number in range(len(LABELS))),
}


def draw_training(log: Path, to: Path) -> Path:
    """A PNG of one phase's log (`epochs.csv`). Raises Rejected without the train extra or with an empty log."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError as error:
        raise Rejected("figures need matplotlib; install the node with its train extra") from error
    with log.open(encoding="utf-8", newline="") as file:
        epochs = list(csv.DictReader(file))
    if not epochs:
        raise Rejected(f"{log} holds no epoch; let the training finish one")
    figure, axes = pyplot.subplots(1, len(_PANELS), figsize=(4 * len(_PANELS), 3.2), layout="constrained")
    for axis, (title, names) in zip(axes, _PANELS.items(), strict=True):
        for name in names:
            if name in epochs[0]:
                axis.plot([float(epoch[name]) for epoch in epochs], marker=".", label=_title(name))
        axis.set_title(title)
        axis.set_xlabel("epoch")
        if axis.lines:
            axis.legend(fontsize=7)
    figure.savefig(to, dpi=110)
    pyplot.close(figure)
    return to


def _title(name: str) -> str:
    start, _underscore, number = name.rpartition("_")
    return f"{LABELS[int(number)]}" if start and number.isdigit() else name
