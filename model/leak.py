"""Where a score of 1.00 comes from: the same network scored on a split of files and on a split of exams.

The public folders hold copies of the same exam. `python -m model.leak DATA WORK INIT RESULTS` puts those copies back,
splits once by file and once by exam, 70/15/15, trains the head on both and appends both scores to the results file:
with the copies that the study's folders hold, and with those of all public folders taken together.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.config import Config
from model.fitting import Examples
from model.labels import LABELS, index_of
from model.metrics import f1_by_label, recall_by_label, wilson
from model.train import Start, fit_head, prepare_training

_TRAIN, _VALIDATION = 0.70, 0.85
_MI = 2
# Files for each distinct exam of the study's folders: 284 of 142, 233 of 233, 240 of 30
STUDY_COPIES = {"normal": 2, "abnormal_heartbeat": 1, "myocardial_infarction": 8}


@dataclass(frozen=True, slots=True)
class Files:
    """Rows of features as the public folders hold them: every exam as often as it was copied."""

    rows: NDArray[np.int64]
    exams: NDArray[np.int64]


def copied_files(start: Start, copies: dict[str, int]) -> Files:
    """The sheets of the three labels, each exam's row as often as it has copies."""
    rows: list[int] = []
    for row, (key, variant) in enumerate(zip(start.data.cache.keys, start.data.cache.variants, strict=True)):
        if variant == 0 and start.data.exams[key].kind == "sheet" and index_of(start.data.exams[key].label) is not None:
            rows += [row] * copies[key]
    return Files(np.array(rows), np.unique(np.array(rows), return_inverse=True)[1])


def study_copies(start: Start) -> dict[str, int]:
    """How many files of the study's folders show each exam."""
    return {key: STUDY_COPIES.get(exam.label, 0) for key, exam in start.data.exams.items()}


def read_copies(data: Path) -> dict[str, int]:
    """How many files of all public folders show each exam."""
    with (data / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return {row["path"]: int(row["copies"]) for row in csv.DictReader(file)}


def parts(files: Files, by_exam: bool, seed: int) -> Iterator[NDArray[np.int64]]:
    """Places of training, validation and test files; by file, copies of one exam fall on both sides."""
    rng = np.random.default_rng(seed)
    units = files.exams if by_exam else np.arange(len(files.rows))
    place = rng.random(int(units.max()) + 1)[units]
    yield np.flatnonzero(place < _TRAIN)
    yield np.flatnonzero((place >= _TRAIN) & (place < _VALIDATION))
    yield np.flatnonzero(place >= _VALIDATION)


def leak_study(start: Start, files: Files, config: Config, by_exam: bool, folder: Path) -> dict[str, Any]:
    """Scores of one split's test part, and how much of it was in training."""
    learned, watched, tested = parts(files, by_exam, config.seed)
    sets = [
        Examples(start.pooled[files.rows[one]], start.data.labels[files.rows[one]])
        for one in (learned, watched, tested)
    ]
    head = fit_head(sets[0], sets[1], config, folder)
    said = np.asarray(head.predict(sets[2].inputs, verbose=0)).argmax(1)
    truth = sets[2].labels
    known = np.isin(files.exams[tested], files.exams[learned])
    right = int((said == truth).sum())
    return {
        "run": f"leak|{'by exam' if by_exam else 'by file'}|seed {config.seed}",
        "test_files": len(truth),
        "test_files_in_training": float(known.mean()),
        "mi_files_in_training": float(known[truth == _MI].mean()),
        "accuracy": right / len(truth),
        "accuracy_interval": wilson(right, len(truth)),
        "macro_f1": float(f1_by_label(truth, said, len(LABELS)).mean()),
        "recall": recall_by_label(truth, said, len(LABELS)).astype(float).tolist(),
    }


if __name__ == "__main__":
    import sys
    from dataclasses import replace
    from itertools import product

    data, work, init, results = (Path(one) for one in sys.argv[1:5])
    chosen = Config()
    begun = prepare_training(data, work, chosen, init)
    # As a study of frozen features would be trained: no shrinking that keeps a network from learning exams by heart
    plain = replace(chosen, dropout=0.0, l2=0.0, label_smoothing=0.0, refit=False)
    folders = {"study": study_copies(begun), "all": read_copies(data)}
    for (folders_name, copies), number, apart in product(folders.items(), (1, 2, 3), (False, True)):
        name = work / "leak" / f"{folders_name}-{'exam' if apart else 'file'}-{number}"
        line = leak_study(begun, copied_files(begun, copies), replace(plain, seed=number), apart, name)
        line["run"] = f"leak, {folders_name} copies" + str(line["run"]).removeprefix("leak")
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(line)
