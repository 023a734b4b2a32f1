"""T25: a worker with weights, card or golden outputs that are not the released ones refuses to start, by name.

Seen to fail: without the comparison of sha256 in model/card.py the changed bytes are not named; without
`_check_agreement` in Classifier.load a worker serves with a network that answers otherwise than the released one.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model.card import CARD, GOLDEN, WEIGHTS, sha256_of, shipped_model_dir
from tests.cli_runs import run_cli


@pytest.mark.parametrize("name", ["weights.npz", "golden.npz"])
def test_a_worker_with_one_byte_changed_does_not_start(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(shipped_model_dir(), folder)
    changed = bytearray((folder / name).read_bytes())
    changed[len(changed) // 2] ^= 1
    (folder / name).write_bytes(changed)
    settings = {"data_dir": tmp_path / "data", "model_dir": folder}
    assert run_cli(["migrate"], **settings).returncode == 0
    done = run_cli(["work"], **settings)
    assert done.returncode == 1
    assert "sha256" in done.stderr
    assert name.split(".")[0] in done.stderr


def _other_golden_outputs(folder: Path) -> None:
    with np.load(folder / GOLDEN) as file:
        pixels, probabilities = file["pixels"], file["probabilities"]
    np.savez_compressed(folder / GOLDEN, pixels=pixels, probabilities=np.roll(probabilities, 1, axis=1))


def _other_weights(folder: Path) -> None:
    with np.load(folder / WEIGHTS) as file:
        arrays = dict(file)
    last = next(name for name, array in arrays.items() if array.shape[-1:] == (3,) and array.ndim == 2)
    arrays[last] = np.roll(arrays[last], 1, axis=1)
    np.savez(folder / WEIGHTS, **arrays)


@pytest.mark.parametrize("change", [_other_golden_outputs, _other_weights])
def test_a_worker_whose_network_answers_otherwise_than_its_golden_outputs_does_not_start(
    change: Callable[[Path], None], tmp_path: Path
) -> None:
    """Whoever changed the file has changed the sha256 in the card, too."""
    folder = tmp_path / "model"
    shutil.copytree(shipped_model_dir(), folder)
    change(folder)
    card = json.loads((folder / CARD).read_text())
    both = {"weights_sha256": sha256_of(folder / WEIGHTS), "golden_sha256": sha256_of(folder / GOLDEN)}
    (folder / CARD).write_text(json.dumps(card | both))
    settings = {"data_dir": tmp_path / "data", "model_dir": folder}
    assert run_cli(["migrate"], **settings).returncode == 0
    done = run_cli(["work"], **settings)
    assert done.returncode == 1
    assert "answers otherwise than when it was released" in done.stderr
