"""The log of a training, epoch by epoch: a CSV file, and the same as TensorBoard reads it."""

import csv
from pathlib import Path
from time import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

LOG = "epochs.csv"
EVENTS = "tensorboard"


class TrainingLog:
    """Appends to a CSV file and to event files in `tensorboard/` of a folder; a resumed training goes on in both."""

    def __init__(self, folder: Path, name: str = LOG) -> None:
        self._folder = folder
        self._name = name
        self._events: EventFileWriter | None = None

    def add(self, epoch: int, values: dict[str, float]) -> None:
        """One epoch's figures, by name."""
        path = self._folder / self._name
        row = {"epoch": str(epoch)} | {name: f"{value:.6g}" for name, value in sorted(values.items())}
        new = not path.exists()
        with path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)
        self._add_event(epoch, values)

    def close(self) -> None:
        if self._events is not None:
            self._events.close()
            self._events = None

    def _add_event(self, epoch: int, values: dict[str, float]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        if self._events is None:
            self._events = EventFileWriter(str(self._folder / EVENTS))
        figures = [Summary.Value(tag=name, simple_value=float(value)) for name, value in sorted(values.items())]
        self._events.add_event(Event(wall_time=time(), step=epoch, summary=Summary(value=figures)))
        self._events.flush()


def read_log(folder: Path, name: str = LOG) -> list[dict[str, float]]:
    """Every logged epoch's figures, `epoch` among them."""
    with (folder / name).open(encoding="utf-8", newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
