"""Exams out of a data folder: each once, split by hash, and every picture of one exam on the same side.

Layout: `manifest.csv` with kind (sheet | signal), path, label, source and detail; sheets are pictures, signals WFDB
records.
"""

import csv
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.errors import Rejected
from core.values import Signal
from model.augmentation import augment_sheet, augment_signal
from model.physiology import with_infarction
from model.preprocessing import prepare
from model.rendering import STANDARD_SHEET, SheetStyle, draw_sheet, random_style
from model.views import moved

Part = Literal["train", "validation", "test"]
_TRAIN, _VALIDATION = 70, 85  # of 100: 70 % training, 15 % validation, 15 % test
_MADE = "+mi"
SCALED_SOURCE = "LUDB"  # its leads were scaled one by one
SAME_HEIGHT = 0.03  # of the highest lead
STANDARD_SHARE = 0.35  # of the drawn training sheets
_NAMES = {"I": "I", "II": "II", "III": "III", "AVR": "aVR", "AVL": "aVL", "AVF": "aVF"}
_NAMES |= {f"V{number}": f"V{number}" for number in range(1, 7)}


@dataclass(frozen=True, slots=True)
class Exam:
    """One ECG of the data folder; `key` stays the same wherever the folder lies."""

    key: str
    kind: Literal["sheet", "signal"]
    path: Path
    label: str
    source: str
    detail: str
    made: bool = False  # an infarction made from a normal record; never judged, only learned from

    @property
    def mi_kind(self) -> str:
        """Which kind of infarction a record states: acute, old, suspected or unstated."""
        for word in ("acute", "old", "suspected"):
            if word in self.detail.lower():
                return word
        return "unstated"


def read_manifest(folder: Path) -> list[Exam]:
    """Every exam of a data folder. Raises Rejected when it has no manifest, or one without kind, path and label.

    What else a manifest leaves out is empty: a record without a source or detail is an exam all the same.
    """
    manifest = folder / "manifest.csv"
    if not manifest.exists():
        raise Rejected(f"{folder} holds no manifest.csv; name a folder laid out as docs/model.md says")
    with manifest.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        missing = {"kind", "path", "label"} - set(reader.fieldnames or ())
        if missing:
            raise Rejected(f"{manifest} lacks the columns {', '.join(sorted(missing))}; docs/model.md names them")
        rows = [{name: (value or "").strip() for name, value in row.items() if name} for row in reader]
    return [
        Exam(row["path"], row["kind"], folder / row["path"], row["label"], row.get("source", ""), row.get("detail", ""))  # type: ignore[arg-type]
        for row in rows
        if row["kind"] in ("sheet", "signal") and row["path"]
    ]


def hash_place(key: str, places: int = 100) -> int:
    """A place from 0 to `places`-1 that depends on the exam's key alone."""
    return int(hashlib.sha256(f"ecg-node:{key}".encode()).hexdigest()[:8], 16) % places


def made_infarctions(exams: Sequence[Exam]) -> list[Exam]:
    """An infarction to be made from every normal record; it stays on the side of the record it is made from."""
    return [
        replace(exam, key=exam.key + _MADE, label="myocardial_infarction", detail="made", made=True)
        for exam in exams
        if exam.kind == "signal" and exam.label == "normal"
    ]


def _record_of(exam: Exam) -> str:
    return exam.key.removesuffix(_MADE)


def part_of(exam: Exam) -> Part:
    """The fixed split, 70/15/15 by hash."""
    place = hash_place(_record_of(exam))
    if place < _TRAIN:
        return "train"
    return "validation" if place < _VALIDATION else "test"


def fold_of(exam: Exam, folds: int) -> int:
    """Fold of cross-validation; another hash than the split's."""
    return hash_place(f"fold:{_record_of(exam)}", folds)


def read_signal(exam: Exam) -> Signal:
    """A WFDB record in millivolts, its leads by their standard names. Raises Rejected when it cannot be read."""
    import wfdb

    try:
        record = wfdb.rdrecord(str(exam.path.resolve()))
    except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:  # wfdb checks little itself
        raise Rejected(f"{exam.path} cannot be read as a WFDB record: {error}") from error
    leads = {
        _NAMES[name.upper()]: np.nan_to_num(record.p_signal[:, column]).astype(np.float32)
        for column, name in enumerate(record.sig_name)
        if name.upper() in _NAMES
    }
    signal = Signal(leads, float(record.fs))
    return unscaled_limbs(signal) if exam.source.upper() == SCALED_SOURCE or is_scaled(signal) else signal


def is_scaled(signal: Signal) -> bool:
    """Whether every lead has the same height, as no heart gives them."""
    heights = np.array([float(np.ptp(values)) for values in signal.leads.values()])
    return heights.size > 1 and bool(np.ptp(heights) < SAME_HEIGHT * heights.max())


def unscaled_limbs(signal: Signal) -> Signal:
    """Put limb leads right that were scaled one by one: the factors that make I + III = II and aVR = -(I + II)/2 hold.

    One common factor stays unknown and is chosen so that the largest limb lead keeps its height. The chest leads cannot
    be put right.
    """
    names = ("I", "II", "III", "aVR", "aVL", "aVF")
    if any(name not in signal.leads for name in names):
        return signal
    raw = np.stack([signal.leads[name] - np.median(signal.leads[name]) for name in names]).astype(np.float64)
    zero = np.zeros_like(raw[0])
    rows = [
        [raw[0], -raw[1], raw[2], zero, zero, zero],  # I - II + III = 0
        [raw[0] / 2, raw[1] / 2, zero, raw[3], zero, zero],  # (I + II) / 2 + aVR = 0
        [-raw[0] / 2, zero, raw[2] / 2, zero, raw[4], zero],  # aVL - (I - III) / 2 = 0
        [zero, -raw[1] / 2, -raw[2] / 2, zero, zero, raw[5]],  # aVF - (II + III) / 2 = 0
    ]
    system = np.concatenate([np.stack(row, axis=1) for row in rows])
    factors = np.abs(np.linalg.svd(system.T @ system)[2][-1])
    if factors.min() < 0.02 * factors.max():
        return signal
    factors /= factors.max()
    limbs = {name: (raw[i] * factors[i]).astype(np.float32) for i, name in enumerate(names)}
    return Signal({**signal.leads, **limbs}, signal.sampling_rate_hz)


def service_picture(exam: Exam) -> NDArray[np.uint8]:
    """The exam as the service would see it: the sheet as it is, the signal on a standard sheet; uint8 (h, w, 3).

    Raises Rejected when its file is missing or broken.
    """
    if exam.kind == "signal":
        return draw_sheet(read_signal(exam), STANDARD_SHEET).rgb
    try:
        with Image.open(exam.path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError) as error:
        raise Rejected(f"{exam.path} cannot be read as a picture: {error}") from error


def training_picture(exam: Exam, number: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One picture of an exam, uint8 (h, w, 3): as it is for 0, else as another device, paper and hand would vary it."""
    if exam.made:
        return draw_sheet(augment_signal(with_infarction(read_signal(exam), rng), rng), _any_style(rng)).rgb
    if number == 0:
        return service_picture(exam)
    if exam.kind == "sheet":
        return augment_sheet(service_picture(exam), rng)
    return draw_sheet(augment_signal(read_signal(exam), rng), _any_style(rng)).rgb


def _any_style(rng: np.random.Generator) -> SheetStyle:
    """Mostly any device's paper; at times the one that the service draws waveforms on."""
    return STANDARD_SHEET if rng.random() < STANDARD_SHARE else random_style(rng)


def prepared_picture(exam: Exam, number: int, size: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """A picture of an exam as a network input, uint8 (height, width); the same whatever else is drawn.

    -1 is the second view of picture 0, as the service has it, -2 the third.
    """
    if number < 0:
        return moved(prepared_picture(exam, 0, size, seed), -number)
    rng = np.random.default_rng([seed, hash_place(exam.key, 2**31), number])
    return prepare(training_picture(exam, number, rng), *size).pixels[:, :, 0]


def prepared_pictures(
    exams: Sequence[Exam], numbers: Sequence[int], size: tuple[int, int], seed: int
) -> Iterator[tuple[Exam, int, NDArray[np.uint8]]]:
    """Network inputs of exams: the exam, which picture (0: as it is), uint8 (height, width)."""
    for exam in exams:
        for number in numbers:
            yield exam, number, prepared_picture(exam, number, size, seed)
