"""What a signal says of itself is measured right, and the last stage learns it; a killed run goes on.

Seen to fail: with a learning rate of 0; with a state that is not read again; without patience.
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
from model.pretrain import pretrain
from model.synthetic import synthetic_signal
from model.targets import NAMES, targets_of
from tests.model.drawn_data import draw_data_folder


def told(signal: Signal) -> dict[str, float]:
    found = targets_of(signal)
    assert found is not None
    return dict(zip(NAMES, found.tolist(), strict=True))


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


def test_the_last_stage_learns_and_a_killed_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.pretrain.RIDGE", 100.0)  # else the readout of drawn signals starts where it should end
    monkeypatch.setattr("model.pretrain.PATIENCE", 99)
    data = draw_data_folder(tmp_path / "data", sheets=0, signals=6)
    config = Config(height=96, width=160, signal_variants=2, batch_size=8, precision="float32")
    init = shipped_model_dir() / WEIGHTS
    said: list[str] = []
    pretrain(data, tmp_path / "out", init, config, epochs=3, say=said.append)
    weights = pretrain(data, tmp_path / "out", init, config, epochs=5, say=said.append)
    log = read(tmp_path / "out")
    assert [row["epoch"] for row in log] == ["0", "1", "2", "3", "4", "5"]
    assert len(said) == len(log)
    assert float(log[-1]["loss"]) < 0.8 * float(log[1]["loss"])
    assert weights.stat().st_size > 1_000_000
    monkeypatch.setattr("model.pretrain.PATIENCE", 1)
    pretrain(data, tmp_path / "out", init, config, epochs=60, say=said.append)
    explained = [float(row["explained"]) for row in read(tmp_path / "out")]
    assert len(explained) < 61
    assert explained[-1] < max(explained)


def read(out: Path) -> list[dict[str, str]]:
    with (out / "pretrain-epochs.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_folder_without_signals_is_refused(tmp_path: Path) -> None:
    data = draw_data_folder(tmp_path, sheets=1, signals=0)
    with pytest.raises(Rejected, match="no signal"):
        pretrain(data, tmp_path / "out", shipped_model_dir() / WEIGHTS, Config(height=96, width=160))
