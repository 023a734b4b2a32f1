"""A small data folder in the layout of the real one, its signals drawn by formulas."""

import csv
from pathlib import Path

import numpy as np
import wfdb
from PIL import Image

from core.values import Signal
from model.rendering import draw_sheet
from model.synthetic import LEADS, synthetic_signal

FIELDS = ("kind", "path", "label", "source", "detail", "age", "sex", "original_sha256", "copies")
# What tells the drawn classes apart: rate, ST elevation in mV, rhythm
KINDS = {
    "normal": (70.0, 0.0, "regular"),
    "abnormal_heartbeat": (120.0, 0.0, "irregular"),
    "myocardial_infarction": (75.0, 0.6, "regular"),
}


def draw_data_folder(folder: Path, sheets: int, signals: int, others: int = 0) -> Path:
    """`sheets` pictures and `signals` records of each label; of labels that the network lacks a sheet, and `others`."""
    rows = [_sheet(folder, label, number) for label in KINDS for number in range(sheets)]
    rows += [_record(folder, label, number) for label in KINDS for number in range(signals)]
    rows += [_record(folder, "other", number) for number in range(others)]
    rows.append(_sheet(folder, "history_of_mi", 0))
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return folder


def drawn_signal(label: str, number: int) -> Signal:
    rate, st_mv, rhythm = KINDS.get(label, (60.0, 0.3, "regular"))
    rng = np.random.default_rng([number, len(label)])
    return synthetic_signal(rate * float(rng.uniform(0.9, 1.1)), st_mv, rhythm, seed=number)  # type: ignore[arg-type]


def _sheet(folder: Path, label: str, number: int) -> dict[str, str | int]:
    path = Path("sheets") / label / f"{label}-{number}.png"
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw_sheet(drawn_signal(label, number)).rgb).save(folder / path)
    return {"kind": "sheet", "path": str(path), "label": label, "source": "drawn", "copies": 2}


def _record(folder: Path, label: str, number: int) -> dict[str, str | int]:
    place = folder / "signals" / "drawn"
    place.mkdir(parents=True, exist_ok=True)
    signal = drawn_signal(label, 100 + number)
    samples = np.stack([signal.leads[lead] for lead in LEADS], axis=1).astype(np.float64)
    name = f"{label}_{number}"
    units = ["mV"] * len(LEADS)
    wfdb.wrsamp(name, 500, units, list(LEADS), samples, fmt=["16"] * len(LEADS), write_dir=str(place))
    return {"kind": "signal", "path": f"signals/drawn/{name}", "label": label, "source": "drawn", "copies": 1}
