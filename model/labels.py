"""The labels of the network and of the data; imports no network library."""

from core.values import LABELS, Label

INDEX = {label.value: place for place, label in enumerate(LABELS)}
# What the data calls labels that the network has no output for; they are reported, never scored
HISTORY = "history_of_mi"
OTHER = "other"
# In training, the number of an exam whose label the network lacks and which shows no healthy heart
NOT_NORMAL = len(LABELS)


def index_of(name: str) -> int | None:
    """Place of a data label among the network's outputs; None when the network lacks it."""
    return INDEX.get(name)


__all__ = ["HISTORY", "INDEX", "LABELS", "NOT_NORMAL", "OTHER", "Label", "index_of"]
