"""Cross-validation by exam and by source on cached features, for choosing between configurations.

`python -m model.compare DATA WORK INIT RESULTS`: every run is one line of the results file, and a run that is there
is not made again. The test part of the fixed split takes no part. With `--end-to-end` the last stage is trained too, by
two losses and in fewer folds, beside a head over the same pictures alone.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from model.config import Config, Loss
from model.dataset import Exam, fold_of, hash_place, part_of
from model.labels import LABELS, index_of
from model.metrics import auroc, f1_by_label, recall_by_label
from model.network import top_of
from model.train import Start, fit_head, train
from model.training_data import trainable_keys, watchable_keys

FOLDS = 5
STOP = 8  # one training exam in this many only decides when to stop
EPOCHS = 2  # of the last stage, end to end: one takes minutes on two cores
PICTURES = 1  # of each exam, end to end
TUNED_FOLDS = 2  # of the five, end to end
MI = 2  # index of infarction among the labels
Scheme = Literal["exam", "source"]


@dataclass(frozen=True, slots=True, eq=False)
class OutOfFold:
    """Logits of exams by networks that never saw them; `truth` is -1 where the network lacks the label."""

    exams: list[Exam]
    logits: NDArray[np.float32]
    truth: NDArray[np.int64]

    def of_kind(self, kind: str) -> "OutOfFold":
        return self.where(np.array([exam.kind == kind for exam in self.exams], bool))

    def where(self, mine: NDArray[np.bool_]) -> "OutOfFold":
        """Those exams for which `mine` (exams,) is true."""
        return OutOfFold(
            [exam for exam, one in zip(self.exams, mine, strict=True) if one], self.logits[mine], self.truth[mine]
        )


def splits(exams: list[Exam], scheme: Scheme) -> Iterator[tuple[set[str], set[str]]]:
    """Training and left-out exams: by fold, or each signal source in turn."""
    if scheme == "exam":
        for fold in range(FOLDS):
            left_out = {exam.key for exam in exams if fold_of(exam, FOLDS) == fold}
            yield {exam.key for exam in exams} - left_out, left_out
        return
    for source in sorted({exam.source for exam in exams if exam.kind == "signal"}):
        left_out = {exam.key for exam in exams if exam.source == source}
        yield {exam.key for exam in exams} - left_out, left_out


def out_of_fold(start: Start, config: Config, scheme: Scheme, folder: Path) -> OutOfFold:
    """Train a head for every split and let it judge what was left out, each exam once, as the service would."""
    exams = [exam for exam in start.data.exams.values() if part_of(exam) != "test"]
    judged: list[Exam] = []
    logits: list[NDArray[np.float32]] = []
    for number, (known, left_out) in enumerate(splits(exams, scheme)):
        known = trainable_keys(start.data, known)
        stop = {key for key in known if hash_place(f"stop:{key}", STOP) == 0}
        real = watchable_keys(start.data, stop)
        learned, watched = start.data.rows(known - stop), start.data.rows(real, 2)
        sets = (start.data.examples(rows, start.pooled) for rows in (learned, watched))
        head = fit_head(*sets, config, folder / f"{scheme}-{number}")
        found, pooled = start.data.judged(left_out, start.pooled)
        judged += found
        logits.append(np.asarray(head.predict(pooled, verbose=0), np.float32))
    truth = np.array([-1 if (index := index_of(exam.label)) is None else index for exam in judged])
    return OutOfFold(judged, np.concatenate(logits), truth)


def tuned_out_of_fold(start: Start, config: Config, folder: Path, folds: int) -> OutOfFold:
    """The same with both phases of training, in the first folds by exam; the network is given back as it was."""
    before = start.network.get_weights()
    top = top_of(start.network)
    exams = [exam for exam in start.data.exams.values() if part_of(exam) != "test"]
    judged: list[Exam] = []
    logits: list[NDArray[np.float32]] = []
    for number, (known, left_out) in enumerate(islice(splits(exams, "exam"), folds)):
        start.network.set_weights(before)
        stop = {key for key in known if hash_place(f"stop:{key}", STOP) == 0}
        train(start, known - stop, stop, config, folder / f"exam-{number}")
        rows = start.data.rows({key for key in left_out if not start.data.exams[key].made}, 1)
        judged += [start.data.exams[start.data.cache.keys[row]] for row in rows]
        activations = start.data.cache.activations[rows].astype(np.float32)
        logits.append(np.asarray(top.predict(activations, verbose=0), np.float32))
    start.network.set_weights(before)
    truth = np.array([-1 if (index := index_of(exam.label)) is None else index for exam in judged])
    return OutOfFold(judged, np.concatenate(logits), truth)


def figures(result: OutOfFold) -> dict[str, float]:
    """The figures of one kind of exams."""
    known = result.truth >= 0
    truth, logits = result.truth[known], result.logits[known].astype(np.float64)
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = raised / raised.sum(axis=1, keepdims=True)
    recall = recall_by_label(truth, logits.argmax(1), len(LABELS))
    two = truth != 1
    return {
        "macro_f1": float(f1_by_label(truth, logits.argmax(1), len(LABELS)).mean()),
        "recall_normal": float(recall[0]),
        "recall_abnormal": float(recall[1]),
        "recall_mi": float(recall[MI]),
        "auroc_mi": auroc(truth == MI, probabilities[:, MI]),
        "auroc_mi_against_normal": auroc(truth[two] == MI, (logits[:, MI] - logits[:, 0])[two]),
        "brier": float(((probabilities - np.eye(len(LABELS))[truth]) ** 2).sum(axis=1).mean()),
    }


def compare(start: Start, variants: dict[str, Config], results: Path, work: Path, schemes: tuple[Scheme, ...]) -> None:
    """Make every run that the results file lacks."""
    done = {line["run"] for line in read_results(results)}
    for name, config in variants.items():
        for scheme in schemes:
            run = f"{name}|{scheme}|seed {config.seed}"
            if run in done:
                continue
            result = out_of_fold(start, config, scheme, work / run.replace("|", "-").replace(" ", "-"))
            kinds = ("sheet", "signal") if scheme == "exam" else ("signal",)
            _append(results, run, config, result, kinds)


def compare_end_to_end(start: Start, variants: dict[str, Config], results: Path, work: Path, folds: int) -> None:
    """Make every run with both phases that the results file lacks."""
    done = {line["run"] for line in read_results(results)}
    for name, config in variants.items():
        run = f"{name}|{folds} folds by exam|seed {config.seed}"
        if run not in done:
            result = tuned_out_of_fold(start, config, work / run.replace("|", "-").replace(" ", "-"), folds)
            _append(results, run, config, result, ("sheet", "signal"))


def _append(results: Path, run: str, config: Config, result: OutOfFold, kinds: tuple[str, ...]) -> None:
    line: dict[str, Any] = {"run": run, "config": asdict(config)}
    line |= {kind: {k: round(v, 4) for k, v in figures(result.of_kind(kind)).items()} for kind in kinds}
    with results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read_results(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def losses(config: Config, seeds: int) -> dict[str, Config]:
    """The same configuration with every loss and seed."""
    return {
        f"loss {loss} #{seed}": replace(config, loss=loss, seed=seed)
        for seed in range(1, seeds + 1)
        for loss in get_args(Loss)
    }


def end_to_end(config: Config, epochs: int) -> dict[str, Config]:
    """Both phases by the two losses that were ahead on frozen features and by the default one; and the head alone."""
    both = replace(config, last_stage="residual", refit=False, epochs=epochs, patience=epochs)
    chosen: tuple[Loss, ...] = ("weighted_cross_entropy", "adaptive", "cross_entropy")
    alone = {"head alone": replace(both, loss="weighted_cross_entropy", epochs=0)}
    return alone | {f"end to end {loss} at {both.tuning_rate:g}": replace(both, loss=loss) for loss in chosen}


def main(arguments: list[str]) -> None:
    """What the command does: the losses compared over frozen features, or with the last stage trained."""
    from model.train import prepare_training

    paths = [Path(one) for one in arguments if not one.startswith("--")]
    data, work, init, results = paths
    if "--end-to-end" not in arguments:
        config = Config()
        compare(prepare_training(data, work, config, init), losses(config, 3), results, work / "runs", ("exam",))
        return
    variants = end_to_end(Config(), EPOCHS)
    start = prepare_training(data, work, next(iter(variants.values())), init)
    few = start.data.thinned(PICTURES)
    pooled = start.pooled[start.data.rows(set(start.data.exams), PICTURES)]
    compare_end_to_end(Start(start.network, few, pooled), variants, results, work / "runs", TUNED_FOLDS)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
