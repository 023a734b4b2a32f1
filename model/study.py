"""From data to a released model: cross-validation, calibration, the study's split scored once, the final training.

`python -m model.study DATA WORK INIT OUT VERSION`. Everything that is chosen is chosen on the 85 % that are not the
test part; the test part is judged by a network that learned from the other 85 %. The released network then learns from
all exams in the same way, so that its own score can only come from data that nobody here has seen.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.states import Reason
from core.values import Box, Judgement
from model.calibrate import choose_offsets, fit_temperature, threshold_for
from model.classifier import softmax
from model.compare import FOLDS, OutOfFold, out_of_fold
from model.config import Config
from model.dataset import fold_of, part_of
from model.evaluate import Judged, mi_by_kind
from model.labels import HISTORY, LABELS, index_of
from model.network import HEAD
from model.release import CALIBRATION, release
from model.scores import Said, describe, share
from model.train import Start, prepare_training, train
from model.training_data import trainable_keys, watchable_keys
from model.weights_file import save_weights

RISK = 0.075  # errors among the answered sheets: below it the network would have to leave out infarctions it finds
SEEDS = (1, 2, 3)
ABNORMAL, INFARCTION = "offset_abnormal_heartbeat", "offset_myocardial_infarction"  # added to the head's bias


def run_study(data: Path, work: Path, init: Path, out: Path, version: str, config: Config) -> dict[str, Any]:
    """Do all of it; the results, which also go to `results.json` and the card."""
    return study_of(prepare_training(data, work, config, init), out, version, config)


def study_of(start: Start, out: Path, version: str, config: Config) -> dict[str, Any]:
    """The same from data that is drawn and activated."""
    out.mkdir(parents=True, exist_ok=True)
    raw = [out_of_fold(start, replace(config, seed=seed), "exam", out / f"folds-{seed}") for seed in SEEDS]
    calibration = calibrate(raw[0])
    runs = [shifted(run, calibration) for run in raw]
    results: dict[str, Any] = {
        "cross_validation_85_percent": [figures(one, calibration) for one in runs],
        "cross_validation_calibrated_apart": calibrated_apart(raw[0]),
        "leave_one_source_out": figures(
            shifted(out_of_fold(start, config, "source", out / "sources"), calibration), calibration
        )["signals"],
        "test_15_percent": _score_test(start, config, calibration, out / "study"),
        "calibration": calibration,
    }
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    _train_final(start, config, out / "final")
    kernel, bias = start.network.get_layer(HEAD).get_weights()
    start.network.get_layer(HEAD).set_weights([kernel, bias + offsets_of(calibration)])
    save_weights(start.network, out / "final" / "weights.npz")
    (out / "final" / CALIBRATION).write_text(json.dumps(calibration) + "\n", encoding="utf-8")
    release(out / "final" / "weights.npz", config, out / "released", version, calibration, results)
    return results


def calibrated_apart(run: OutOfFold) -> dict[str, Any]:
    """Figures of sheets and signals where each fold is judged by the calibration of the other folds' answers."""
    folds = np.array([fold_of(exam, FOLDS) for exam in run.exams])
    said: dict[str, list[Said]] = {"sheet": [], "signal": []}
    for fold in np.unique(folds):
        calibration = calibrate(run.where(folds != fold))
        mine = shifted(run.where(folds == fold), calibration)
        for kind, answers in said.items():
            answers.append(said_by(mine.of_kind(kind), calibration))
    return {f"{kind}s": describe(_together(answers)) for kind, answers in said.items()}


def _together(parts: Sequence[Said]) -> Said:
    return Said(
        np.concatenate([one.truth for one in parts]),
        np.concatenate([one.said for one in parts]),
        np.concatenate([one.probabilities for one in parts]),
    )


def calibrate(run: OutOfFold) -> dict[str, float]:
    """Temperature and least confidence, from exams that their network never saw."""
    known = run.truth >= 0
    truth = run.truth[known]
    sheets = np.array([exam.kind == "sheet" for exam, one in zip(run.exams, known, strict=True) if one])
    history = run.logits[np.array([exam.label == HISTORY for exam in run.exams])]
    abnormal, infarction = choose_offsets(run.logits[known], truth, sheets, history)
    offsets = {ABNORMAL: abnormal, INFARCTION: infarction}
    logits = shifted(run, offsets).logits[known]
    temperature = fit_temperature(logits, truth)
    probabilities = softmax(logits / temperature)
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    least = threshold_for(confidence[sheets], correct[sheets], RISK)
    return {"temperature": round(temperature, 4), "confidence": round(least, 4)} | offsets


def shifted(run: OutOfFold, calibration: dict[str, float]) -> OutOfFold:
    """The same run at the operating point of a calibration."""
    return OutOfFold(run.exams, run.logits + offsets_of(calibration), run.truth)


def offsets_of(calibration: dict[str, float]) -> NDArray[np.float32]:
    return np.array([0.0, calibration[ABNORMAL], calibration[INFARCTION]], np.float32)


def figures(run: OutOfFold, calibration: dict[str, float]) -> dict[str, Any]:
    """Figures of sheets and signals apart, with abstention; and what became of old infarctions."""
    parts = {f"{kind}s": describe(said_by(run.of_kind(kind), calibration)) for kind in ("sheet", "signal")}
    probabilities = softmax(run.logits / calibration["temperature"])
    history = np.array([exam.label == HISTORY for exam in run.exams])
    sure = probabilities.max(axis=1) >= calibration["confidence"]
    called = history & sure & (probabilities.argmax(axis=1) == 0)
    judged = list(_judged(run, probabilities, sure))
    by_kind = {f"{kind}s": mi_by_kind([one for one in judged if one.exam.kind == kind]) for kind in ("sheet", "signal")}
    return parts | {"history_called_normal": share(int(called.sum()), int(history.sum())), "mi_by_kind": by_kind}


def _judged(run: OutOfFold, probabilities: NDArray[np.float32], sure: NDArray[np.bool_]) -> Iterator[Judged]:
    """The answers as the service would give them."""
    for exam, one, answered in zip(run.exams, probabilities, sure, strict=True):
        label = LABELS[int(one.argmax())] if answered else None
        reason = None if answered else Reason.UNCERTAIN
        said = tuple(float(value) for value in one)
        yield Judged(exam, Judgement(label, reason, said, None, Box(0.0, 0.0, 1.0, 1.0), 1.0))  # type: ignore[arg-type]


def said_by(run: OutOfFold, calibration: dict[str, float]) -> Said:
    known = run.truth >= 0
    probabilities = softmax(run.logits[known] / calibration["temperature"]).astype(np.float64)
    said = np.where(probabilities.max(axis=1) >= calibration["confidence"], probabilities.argmax(axis=1), -1)
    return Said(run.truth[known], said, probabilities)


def _score_test(start: Start, config: Config, calibration: dict[str, float], folder: Path) -> dict[str, Any]:
    """The study's network, which learned from 85 %, on the 15 % that it never saw."""
    keys: dict[str, set[str]] = {"train": set(), "validation": set(), "test": set()}
    for key, exam in start.data.exams.items():
        keys[part_of(exam)].add(key)
    train(start, keys["train"], keys["validation"], config, folder)
    exams, pooled = start.data.judged(keys["test"], start.pooled)
    kernel, bias = start.network.get_layer(HEAD).get_weights()
    truth = np.array([-1 if (index := index_of(exam.label)) is None else index for exam in exams])
    return figures(shifted(OutOfFold(exams, pooled @ kernel + bias, truth), calibration), calibration)


def _train_final(start: Start, config: Config, folder: Path) -> None:
    usable = trainable_keys(start.data, set(start.data.exams))
    real = watchable_keys(start.data, usable)
    watched = {key for key in real if part_of(start.data.exams[key]) == "validation"}
    train(start, usable - watched, watched, config, folder)


if __name__ == "__main__":
    import sys

    folders = [Path(one) for one in sys.argv[1:5]]
    print(json.dumps(run_study(*folders, version=sys.argv[5], config=Config()), indent=1))
