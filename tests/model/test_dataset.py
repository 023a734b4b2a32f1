"""Exams, their fixed split, and the variants that are drawn of them."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from core.errors import Rejected
from core.values import Signal
from model.audit import audit_folder
from model.dataset import (
    fold_of,
    made_infarctions,
    part_of,
    prepared_pictures,
    read_manifest,
    read_signal,
    unscaled_limbs,
)
from model.synthetic import synthetic_signal
from tests.conftest import need_data
from tests.model.drawn_data import draw_data_folder, drawn_signal


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_data_folder(tmp_path_factory.mktemp("data"), sheets=3, signals=2)


def test_a_manifest_gives_every_exam_once(drawn: Path) -> None:
    exams = read_manifest(drawn)
    assert Counter(exam.kind for exam in exams) == {"sheet": 10, "signal": 6}
    assert len({exam.key for exam in exams}) == 16


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match=r"manifest\.csv"):
        read_manifest(tmp_path)


def test_a_record_is_read_in_millivolts(drawn: Path) -> None:
    exam = next(one for one in read_manifest(drawn) if one.kind == "signal" and one.label == "normal")
    signal = read_signal(exam)
    assert signal.sampling_rate_hz == 500
    assert signal.leads["V4"] == pytest.approx(drawn_signal("normal", 100).leads["V4"], abs=0.001)


def test_the_split_does_not_depend_on_where_the_folder_lies(drawn: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(drawn, tmp_path / "elsewhere"))
    assert [part_of(one) for one in read_manifest(drawn)] == [part_of(one) for one in read_manifest(moved)]


def test_the_split_is_about_70_15_15_and_folds_go_across_it() -> None:
    exams = read_manifest(need_data())
    parts = Counter(part_of(exam) for exam in exams)
    assert parts["train"] / len(exams) == pytest.approx(0.70, abs=0.05)
    assert parts["test"] / len(exams) == pytest.approx(0.15, abs=0.05)
    assert {fold_of(exam, 5) for exam in exams if part_of(exam) == "train"} == {0, 1, 2, 3, 4}


def test_a_made_infarction_stays_on_the_side_of_its_record(drawn: Path) -> None:
    exams = read_manifest(drawn)
    made = made_infarctions(exams)
    assert len(made) == 2
    origin = {exam.key: exam for exam in exams}
    for one in made:
        assert part_of(one) == part_of(origin[one.key.removesuffix("+mi")])
        assert fold_of(one, 5) == fold_of(origin[one.key.removesuffix("+mi")], 5)


def test_variants_are_the_same_each_time_and_unlike_each_other(drawn: Path) -> None:
    exams = [one for one in read_manifest(drawn) if one.label == "normal"][2:4]
    first = [pixels for _exam, _number, pixels in prepared_pictures(exams, range(2), (72, 128), seed=3)]
    again = [pixels for _exam, _number, pixels in prepared_pictures(exams, range(2), (72, 128), seed=3)]
    assert all((one == other).all() for one, other in zip(first, again, strict=True))
    assert len({one.tobytes() for one in first}) == 4


def test_limb_leads_scaled_one_by_one_are_put_right_but_for_one_factor() -> None:
    truth = synthetic_signal()
    scaled = Signal({name: (values / np.ptp(values)).astype(np.float32) for name, values in truth.leads.items()}, 500.0)
    found = unscaled_limbs(scaled).leads
    ratios = [np.ptp(found[name]) / np.ptp(truth.leads[name]) for name in ("I", "II", "III", "aVR", "aVL", "aVF")]
    assert max(ratios) / min(ratios) < 1.1
    assert found["I"] + found["III"] == pytest.approx(found["II"], abs=0.05)


def test_the_real_exams_are_all_distinct() -> None:
    report = audit_folder(need_data(), near=False)
    assert report.files == report.distinct
