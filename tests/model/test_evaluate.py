"""Figures of an evaluation: true against hand counts, honest about what was not answered."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.errors import Rejected
from core.values import LABELS, Box, Judgement
from model.calibrate import LEAST_CONFIDENCE, fit_temperature, threshold_for
from model.dataset import Exam
from model.evaluate import Judged, evaluate_folder, mi_by_kind
from model.metrics import auroc, calibration_error, wilson
from model.rendering import draw_sheet
from model.scores import Said, coverage, describe, macro_f1
from model.synthetic import synthetic_signal

HEADLINE = [
    "sheets_macro_f1",
    "sheets_mi_found",
    "signals_macro_f1",
    "signals_mi_auroc",
    "history_called_normal",
    "abstained",
]


def said(truth: list[int], answers: list[int]) -> Said:
    sure = np.full((len(truth), 3), 0.05)
    sure[np.arange(len(truth)), np.maximum(answers, 0)] = 0.9
    return Said(np.array(truth), np.array(answers), sure)


def test_an_abstention_counts_as_not_found() -> None:
    # normal: 1 of 2 found, nothing else called normal: F1 2/3; the other labels are perfect
    assert macro_f1(said([0, 0, 1, 2], [0, -1, 1, 2])) == pytest.approx((2 / 3 + 1 + 1) / 3)


def test_a_label_that_does_not_occur_is_not_averaged() -> None:
    assert macro_f1(said([0, 1], [0, 1])) == 1.0


def test_the_description_counts_what_was_said_of_each_label() -> None:
    told = describe(said([0, 0, 1, 2], [0, 2, 1, -1]))
    assert told["confusion"] == [[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
    assert told["recall"]["normal"]["count"] == 1
    assert told["abstained"]["count"] == 1


def test_auroc_halves_ties() -> None:
    assert auroc(np.array([True, True, False, False]), np.array([0.9, 0.5, 0.5, 0.1])) == pytest.approx(0.875)


def test_the_interval_of_a_proportion_is_wilsons() -> None:
    low, high = wilson(7, 10)
    assert (round(low, 3), round(high, 3)) == (0.397, 0.892)


def test_calibration_error_is_the_gap_between_confidence_and_truth() -> None:
    assert calibration_error(np.full(10, 0.8), np.array([True] * 5 + [False] * 5), bins=1) == pytest.approx(0.3)


def test_coverage_is_what_can_be_answered_within_a_risk() -> None:
    confidence, correct = np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, True, False, True])
    assert coverage(confidence, correct, 0.25) == 1.0
    assert coverage(confidence, correct, 0.1) == 0.5


def test_the_temperature_of_logits_that_are_too_sure_is_above_one() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 3, 600)
    logits = rng.normal(size=(600, 3)) + 1.2 * np.eye(3)[truth]
    assert fit_temperature(4 * logits, truth) == pytest.approx(4 * fit_temperature(logits, truth), rel=0.05)


def test_the_threshold_holds_the_stated_risk() -> None:
    confidence, correct = np.linspace(0.99, 0.45, 100), np.arange(100) < 50
    least = threshold_for(confidence, correct, 0.1)
    kept = confidence >= least
    assert (~correct[kept]).mean() <= 0.1
    assert threshold_for(confidence, np.ones(100, bool), 0.1) == pytest.approx(0.45)
    assert threshold_for(np.full(5, 0.1), np.ones(5, bool), 0.1) == LEAST_CONFIDENCE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = []
    for number, label in enumerate(["normal", "abnormal_heartbeat", "myocardial_infarction", "history_of_mi"]):
        path = tmp_path / "data" / "sheets" / label / f"{number}.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(draw_sheet(synthetic_signal(60 + 20 * number, seed=number)).rgb).save(path)
        kept = path.relative_to(tmp_path / "data")
        rows.append({"kind": "sheet", "path": str(kept), "label": label, "source": "drawn", "detail": ""})
    with (tmp_path / "data" / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return tmp_path / "data"


def test_a_folder_is_scored_with_the_compared_figures_first(folder: Path, tmp_path: Path) -> None:
    scores = evaluate_folder(folder, json=tmp_path / "out.json", report=tmp_path / "report")
    assert list(scores)[:6] == HEADLINE
    assert json.loads((tmp_path / "out.json").read_text()) == json.loads(json.dumps(scores))
    assert scores["sheets"]["exams"] == 3
    assert "history_of_mi" in scores["labels_beyond_the_three"]
    assert scores["signals_mi_auroc"] is None
    page = (tmp_path / "report" / "report.html").read_text()
    assert "support" in page
    assert "Not verified" in page
    assert (tmp_path / "report" / "sheets-reliability.png").stat().st_size > 1000


def test_a_folder_without_manifest_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match=r"manifest\.csv"):
        evaluate_folder(tmp_path)


def test_a_scarce_manifest_a_missing_file_and_a_relative_path_are_no_hindrance(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (folder / "manifest.csv").open(newline="") as file:
        rows = [{name: row[name] for name in ("kind", "path", "label")} for row in csv.DictReader(file)][:1]
    rows.append({"kind": "signal", "path": "signals/nowhere/gone", "label": "myocardial_infarction"})
    rows.append({"kind": "sheet", "path": "sheets/normal/gone.jpg", "label": "normal"})
    rows.append({"kind": "sheet", "path": rows[0]["path"], "label": ""})
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    monkeypatch.chdir(tmp_path)
    scores = evaluate_folder(Path("data"), json=Path("new/folder/out.json"))
    assert Path("new/folder/out.json").exists()
    assert scores["unreadable_files"] == ["signals/nowhere/gone", "sheets/normal/gone.jpg"]
    assert scores["signals_macro_f1"] == 0.0  # a lost infarction is not found
    assert scores["sheets"]["recall"]["normal"]["of"] == 2
    assert scores["history_called_normal"] is None
    assert list(scores["labels_beyond_the_three"]) == [""]


def test_a_manifest_without_labels_is_refused_with_the_columns_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("kind,path\nsheet,a.jpg\n")
    with pytest.raises(Rejected, match="lacks the columns label"):
        evaluate_folder(tmp_path)


def test_infarctions_are_told_apart_by_kind() -> None:
    def one(label: str, detail: str, answer: int) -> Judged:
        sure = tuple(0.9 if place == answer else 0.05 for place in range(3))
        exam = Exam(detail, "signal", Path(detail), label, "drawn", detail)
        return Judged(exam, Judgement(LABELS[answer], None, sure, None, Box(0, 0, 1, 1), 1.0))  # type: ignore[arg-type]

    mi = "myocardial_infarction"
    told = mi_by_kind([one("normal", "a", 0), one(mi, "MI_acute_STEMI", 2), one(mi, "MI_old_scar", 0), one(mi, "", 1)])
    assert list(told) == ["acute", "old", "unstated"]
    assert [told[kind]["found"]["count"] for kind in told] == [1, 0, 0]
    assert told["old"]["called_normal"]["count"] == 1
    assert [told[kind]["auroc_against_normal"]["value"] for kind in told] == [1.0, 0.5, 1.0]
