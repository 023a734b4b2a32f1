"""What a signal says of itself is measured right, sheets are drawn with their leads where they are said to be, and the
network learns to read them; a killed run goes on.

Seen to fail: with a learning rate of 0; with a state that is not read again; with boxes of the page instead of the
input; with a wall's ST change of the other sign.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import csv
from pathlib import Path

import numpy as np
import pytest

from core.errors import Rejected
from core.values import Signal
from model.card import WEIGHTS, shipped_model_dir
from model.config import Config
from model.drawn_lesson import STRIPS, WHOLE, draw_lesson, strips_of
from model.physiology import Injury, with_injury
from model.preprocessing import prepare
from model.pretrain import pretrain
from model.rendering import LEADS, SheetStyle, draw_sheet
from model.synthetic import random_signal, synthetic_signal
from model.targets import LEAD_NAMES, NAMES, targets_of
from tests.model.drawn_data import draw_data_folder


def told(signal: Signal) -> dict[str, float]:
    found = targets_of(signal)
    assert found is not None
    return dict(zip(NAMES, found.whole.tolist(), strict=True))


def test_rate_irregularity_and_st_are_those_the_signal_was_made_with() -> None:
    calm, lifted = told(synthetic_signal(75)), told(synthetic_signal(75, st_mv=0.3))
    assert calm["rate"] == pytest.approx(0.0, abs=0.05)
    assert told(synthetic_signal(115))["rate"] == pytest.approx(1.0, abs=0.1)
    assert told(synthetic_signal(75, rhythm="irregular"))["irregularity"] > calm["irregularity"] + 0.3
    assert lifted["st_V3"] > calm["st_V3"] + 0.3
    assert lifted["st_V6"] == pytest.approx(calm["st_V6"], abs=0.05)
    assert (calm["r_V1"] < 0, calm["r_V5"] > 0, calm["t_V4"] > 0) == (True, True, True)


def test_targets_do_not_change_when_leads_are_scaled_one_by_one() -> None:
    signal = synthetic_signal(80, st_mv=0.2)
    scaled = Signal({name: (values * (1 + i / 4)).astype(np.float32) for i, (name, values) in
                     enumerate(signal.leads.items())}, signal.sampling_rate_hz)  # fmt: skip
    before, after = told(signal), told(scaled)
    for name in NAMES:
        if not name.startswith("axis"):
            assert after[name] == pytest.approx(before[name], abs=0.03), name


def test_a_record_without_beats_has_no_targets() -> None:
    assert targets_of(Signal({name: np.zeros(5000, np.float32) for name in synthetic_signal().leads}, 500.0)) is None


def test_a_wall_lifts_the_leads_that_face_it_and_lowers_those_behind() -> None:
    healthy, rng = synthetic_signal(75), np.random.default_rng(5)
    before, hurt = told(healthy), told(with_injury(healthy, "inferior", Injury(0.3, q_wave=False), rng))
    assert all(hurt[f"st_{lead}"] > before[f"st_{lead}"] + 0.2 for lead in ("II", "III", "aVF"))
    assert all(hurt[f"st_{lead}"] < before[f"st_{lead}"] - 0.1 for lead in ("aVL", "V2"))
    scar = targets_of(with_injury(healthy, "inferior", Injury(0.0, q_wave=True, t_mv=-0.4), rng))
    plain = targets_of(healthy)
    assert scar is not None
    assert plain is not None
    change = dict(zip(LEADS, scar.leads - plain.leads, strict=True))
    q, t = LEAD_NAMES.index("q"), LEAD_NAMES.index("t")
    assert all(change[lead][q] > 0.15 and change[lead][t] < -0.3 for lead in ("II", "III", "aVF"))
    assert abs(change["V6"][q]) < 0.2


def test_hearts_of_formulas_differ_and_obey_einthoven() -> None:
    hearts = [random_signal(np.random.default_rng(number)) for number in range(24)]
    found = [targets_of(heart) for heart in hearts]
    values = np.array([one.whole for one in found if one is not None])
    assert len(values) == len(hearts)
    assert (values.std(axis=0) > 0.1).all()
    for heart in hearts:
        assert np.abs(heart.leads["I"] + heart.leads["III"] - heart.leads["II"]).max() < 1e-4
        assert np.isfinite(np.stack(list(heart.leads.values()))).all()


@pytest.mark.parametrize("changed", ["II", "V5"])
def test_a_change_of_one_lead_changes_the_input_where_that_lead_is_said_to_stand(changed: str) -> None:
    beats = synthetic_signal(75)
    leads = {name: (0.5 * values).astype(np.float32) for name, values in beats.leads.items()}
    other = {**leads, changed: (0.7 * leads[changed]).astype(np.float32)}
    style = SheetStyle(layout="12x1", rhythm=(), row_mm=16, margin_mm=12, header=("ID",) * 3)
    pictures = [draw_sheet(Signal(one, beats.sampling_rate_hz), style) for one in (leads, other)]
    before, after = (prepare(one.rgb, 384, 640) for one in pictures)
    change = np.abs(before.pixels[:, :, 0].astype(int) - after.pixels[:, :, 0])
    rows, columns = np.nonzero(change > 40)  # less is what the sheet's ink in all does to a pixel
    boxes, lead, _said = strips_of(pictures[0].leads, before, np.zeros((12, len(LEAD_NAMES)), np.float32))
    left, top, right, bottom = boxes[list(lead).index(LEADS.index(changed))] * [640, 384, 640, 384]
    assert rows.size > 50
    assert (left - 2 <= columns.min(), columns.max() <= right + 2) == (True, True)
    assert (top - 2 <= rows.min(), rows.max() <= bottom + 2) == (True, True)
    beat = (right - left) * 0.08  # of ten seconds
    assert (columns.min() < left + beat, columns.max() > right - beat) == (True, True)
    assert bottom - top < 384 / 12


def test_a_lesson_is_the_same_for_the_same_seed_and_its_areas_add_up() -> None:
    one, same, other = (draw_lesson([], 6, (96, 160), [1, number]) for number in (1, 1, 2))
    assert (one.pictures.tobytes(), one.whole.tobytes()) == (same.pictures.tobytes(), same.whole.tobytes())
    assert one.pictures.tobytes() != other.pictures.tobytes()
    areas = one.areas(3, 5)
    assert areas.shape == (6, STRIPS, 15)
    there = one.lead >= 0
    assert there.sum() >= 6 * 12
    assert areas.sum(axis=-1)[there] == pytest.approx(1.0, abs=1e-4)
    assert one.whole.shape == (6, WHOLE)


def small(folder: Path, said: list[str], epochs: int = 5, sheets: int = 32) -> Path:
    """A run on small pictures; the weights file."""
    data = draw_data_folder(folder / "data", sheets=0, signals=1, others=4)
    config = Config(height=96, width=160, precision="float32")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model.pretrain.WATCHED", sheets)
        return pretrain(data, folder / "out", shipped_model_dir() / WEIGHTS, config, epochs, sheets, said.append)


def test_the_network_learns_to_read_sheets(tmp_path: Path) -> None:
    weights = small(tmp_path, [])
    log = read(tmp_path / "out")
    assert [row["epoch"] for row in log] == ["1", "2", "3", "4", "5"]
    assert float(log[-1]["loss"]) < 0.9 * float(log[0]["loss"])
    assert float(log[-1]["strip_named"]) > 0.2
    assert float(log[-1]["strip_r"]) > 0.1
    assert weights.stat().st_size > 1_000_000


def test_a_killed_run_goes_on_as_if_nothing_had_been(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # what is trained does not matter here, and less of it takes less time
    monkeypatch.setattr("model.pretrain.FROZEN", ("conv1", "conv2", "conv3", "conv4"))
    whole = small(tmp_path / "whole", [], 2, 8)
    with pytest.raises(KeyboardInterrupt):
        small(tmp_path / "killed", Killing(), 2, 8)
    assert not (tmp_path / "killed" / "out" / "weights.npz").exists()
    resumed = small(tmp_path / "killed", [], 2, 8)
    assert [row["epoch"] for row in read(tmp_path / "killed" / "out")] == ["1", "2"]
    with np.load(whole) as one, np.load(resumed) as other:
        for name in one.files:
            assert one[name] == pytest.approx(other[name], abs=2e-3), name


class Killing(list[str]):
    """Hears the first epoch's figures and ends the run."""

    def append(self, _word: str) -> None:
        raise KeyboardInterrupt


def read(out: Path) -> list[dict[str, str]]:
    with (out / "pretrain-epochs.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_folder_without_records_to_draw_is_refused(tmp_path: Path) -> None:
    data = draw_data_folder(tmp_path, sheets=1, signals=1)
    with pytest.raises(Rejected, match="no signal"):
        pretrain(data, tmp_path / "out", shipped_model_dir() / WEIGHTS, Config(height=96, width=160))
