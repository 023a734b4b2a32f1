"""Copies are found, within and across the parts of a split, however they were made."""

import shutil
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from cli.main import app
from core.errors import Rejected
from model.audit import audit_folder
from model.rendering import draw_sheet
from model.synthetic import synthetic_signal


def sheet(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw_sheet(synthetic_signal(50 + 12 * seed, rhythm="irregular", seed=seed)).rgb).save(path)
    return path


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    for number in range(3):
        sheet(tmp_path / "train" / "Normal" / f"{number}.png", number)
    sheet(tmp_path / "test" / "Normal" / "3.png", 3)
    sheet(tmp_path / "test" / "MI" / "4.png", 4)
    return tmp_path


def test_a_folder_of_distinct_exams_has_no_leak(clean: Path) -> None:
    found = audit_folder(clean)
    assert (found.files, found.distinct, found.copies) == (5, 5, ())
    assert not found.leaks


def test_an_exact_copy_on_the_other_side_is_a_leak(clean: Path) -> None:
    shutil.copy(clean / "train" / "Normal" / "0.png", clean / "test" / "Normal" / "9.png")
    found = audit_folder(clean)
    assert found.leaked["test"] == (1, 3)
    assert found.copies[0].parts == {"train", "test"}


def test_a_copy_that_was_saved_anew_is_found_too(clean: Path) -> None:
    picture = Image.open(clean / "train" / "Normal" / "1.png")
    picture.save(clean / "test" / "MI" / "9.jpg", quality=80)
    found = audit_folder(clean)
    assert found.leaked["test"] == (1, 3)
    assert found.copies[0].labels == {"Normal", "MI"}


def test_copies_within_one_part_are_counted_but_leak_nothing(clean: Path) -> None:
    shutil.copy(clean / "train" / "Normal" / "0.png", clean / "train" / "Normal" / "8.png")
    found = audit_folder(clean)
    assert found.distinct == 5
    assert not found.leaks


def test_the_command_refuses_a_leaking_split_unless_told(clean: Path) -> None:
    shutil.copy(clean / "train" / "Normal" / "0.png", clean / "test" / "Normal" / "9.png")
    refused = CliRunner().invoke(app, ["model", "audit", str(clean)])
    assert refused.exit_code == 1
    assert "THE SPLIT LEAKS" in refused.output
    assert CliRunner().invoke(app, ["model", "audit", str(clean), "--allow-leak"]).exit_code == 0


def test_a_folder_of_another_layout_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(Rejected, match=r"manifest\.csv"):
        audit_folder(tmp_path)


def test_a_clean_audit_says_that_nothing_leaks(clean: Path) -> None:
    assert "No exam is on both sides" in audit_folder(clean).text()
