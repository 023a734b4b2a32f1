"""Scores a released model on a folder of labelled ECGs, as the service would judge them.

`ecg-node model evaluate --data FOLDER --json OUT` or `python -m model.evaluate FOLDER [OUT]`.
"""

import json as jsonlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from core.errors import Rejected
from core.states import Reason
from core.values import LABELS, Box, Judgement, Picture
from model.classifier import Classifier, default_model_dir
from model.dataset import Exam, part_of, read_manifest, service_picture
from model.labels import HISTORY, index_of
from model.scores import ABSTAINED, Said, describe, macro_f1, mi_auroc_against_normal, share, with_interval

_TOGETHER = 16
PICTURES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """An exam and what was said of it."""

    exam: Exam
    judgement: Judgement


def evaluate_folder(
    data: Path,
    model_dir: Path | None = None,
    json: Path | None = None,
    report: Path | None = None,
    part: str = "all",
) -> dict[str, Any]:
    """Every figure of a model on a data folder; first the few that are compared between models. Raises Rejected."""
    classifier = Classifier.load(model_dir or default_model_dir())
    exams = [exam for exam in read_manifest(data) if part in ("all", part_of(exam))]
    if not exams:
        raise Rejected(f"{data} holds no exam of part {part}; use all, train, validation or test")
    judged = list(judge_exams(classifier, exams))
    scores = headline(judged) | details(judged) | {"model": _identity(classifier)} | _unlabelled(classifier, data)
    if json:
        json.parent.mkdir(parents=True, exist_ok=True)
        json.write_text(jsonlib.dumps(scores, indent=1) + "\n", encoding="utf-8")
    if report:
        from model.report_page import write_report

        write_report(judged, scores, report)
    return scores


def judge_exams(classifier: Classifier, exams: Sequence[Exam]) -> Iterator[Judged]:
    """Judge exams as they would arrive: sheets as they are, signals drawn on a standard sheet.

    A file that cannot be read gets no answer, which counts as not found.
    """
    for exam in exams:
        try:
            picture = Picture(service_picture(exam))
        except Rejected:
            yield Judged(exam, Judgement(None, Reason.DAMAGED, None, None, Box(0.0, 0.0, 1.0, 1.0), 0.0))
            continue
        yield Judged(exam, classifier.classify([picture])[0])


def said_of(judged: Sequence[Judged]) -> Said:
    """Truth and answers of the exams whose label the network knows."""
    known = [one for one in judged if index_of(one.exam.label) is not None]
    uniform = (1 / len(LABELS),) * len(LABELS)
    return Said(
        np.array([index_of(one.exam.label) for one in known], np.int64),
        np.array([_index(one.judgement) for one in known], np.int64),
        np.array([one.judgement.probabilities or uniform for one in known], np.float64).reshape(-1, len(LABELS)),
    )


def _index(judgement: Judgement) -> int:
    return ABSTAINED if judgement.label is None else LABELS.index(judgement.label)


def _of(judged: Sequence[Judged], kind: str) -> list[Judged]:
    return [one for one in judged if one.exam.kind == kind]


def headline(judged: Sequence[Judged]) -> dict[str, Any]:
    """The figures that models are compared by; None where the folder lacks what they need.

    An abstention counts as not found. `signals_mi_auroc` is infarction against normal.
    """
    sheets, signals = said_of(_of(judged, "sheet")), said_of(_of(judged, "signal"))
    mi = sheets.truth == LABELS.index(LABELS[-1])
    history = [one for one in judged if one.exam.label == HISTORY]
    called = sum(one.judgement.label == LABELS[0] for one in history)
    return {
        "sheets_macro_f1": _number(macro_f1(sheets)),
        "sheets_mi_found": _number(float((sheets.said[mi] == len(LABELS) - 1).mean()) if mi.any() else float("nan")),
        "signals_macro_f1": _number(macro_f1(signals)),
        "signals_mi_auroc": _number(mi_auroc_against_normal(signals)),
        "history_called_normal": _number(called / len(history) if history else float("nan")),
        "abstained": _number(sum(one.judgement.label is None for one in judged) / len(judged)),
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)


def details(judged: Sequence[Judged]) -> dict[str, Any]:
    """Figures with intervals by kind, source and kind of infarction; labels the network lacks are counted only."""
    sheets, signals = _of(judged, "sheet"), _of(judged, "signal")
    return {
        "sheets": describe(said_of(sheets)),
        "signals": describe(said_of(signals)),
        "signals_by_source": {
            source: describe_shortly([one for one in signals if one.exam.source == source])
            for source in sorted({one.exam.source for one in signals})
        },
        "mi_by_kind": {"sheets": mi_by_kind(sheets), "signals": mi_by_kind(signals)},
        "labels_beyond_the_three": {
            label: _answers([one for one in judged if one.exam.label == label])
            for label in sorted({one.exam.label for one in judged if index_of(one.exam.label) is None})
        },
        "refused": dict(Counter(one.judgement.reason.value for one in judged if one.judgement.reason)),
        "unreadable_files": [one.exam.key for one in judged if one.judgement.reason is Reason.DAMAGED],
    }


def mi_by_kind(judged: Sequence[Judged]) -> dict[str, Any]:
    """Acute, old, suspected and unstated infarctions apart: how many were found, and how well each kind stands out."""
    infarctions = [one for one in judged if one.exam.label == LABELS[-1].value]
    normals = [one for one in judged if one.exam.label == LABELS[0].value]
    kinds = sorted({one.exam.mi_kind for one in infarctions})
    return {kind: _one_kind([one for one in infarctions if one.exam.mi_kind == kind], normals) for kind in kinds}


def _one_kind(infarctions: Sequence[Judged], normals: Sequence[Judged]) -> dict[str, Any]:
    found = share(sum(one.judgement.label == LABELS[-1] for one in infarctions), len(infarctions))
    called = share(sum(one.judgement.label == LABELS[0] for one in infarctions), len(infarctions))
    auroc = with_interval(mi_auroc_against_normal, said_of([*infarctions, *normals]))
    return {"found": found, "called_normal": called, "auroc_against_normal": auroc}


def describe_shortly(judged: Sequence[Judged]) -> dict[str, Any]:
    """Counts of one source: exams, and how many of each label were found."""
    said = said_of(judged)
    found = {
        label.value: share(int(((said.truth == i) & (said.said == i)).sum()), int((said.truth == i).sum()))
        for i, label in enumerate(LABELS)
        if (said.truth == i).any()
    }
    return {"exams": len(said.truth), "found": found}


def _answers(judged: Sequence[Judged]) -> dict[str, Any]:
    """What was said of exams whose label the network lacks."""
    answers = Counter(one.judgement.label.value if one.judgement.label else "none" for one in judged)
    return {answer: share(count, len(judged)) for answer, count in sorted(answers.items())}


def _unlabelled(classifier: Classifier, data: Path) -> dict[str, Any]:
    """What becomes of photographs without a diagnosis."""
    photos = sorted(path for path in (data / "photos").glob("*") if path.suffix.lower() in PICTURES)
    pictures = [Picture(np.asarray(Image.open(path).convert("RGB"))) for path in photos]
    judgements = [
        one for i in range(0, len(pictures), _TOGETHER) for one in classifier.classify(pictures[i : i + _TOGETHER])
    ]
    if not judgements:
        return {}
    refused = sum(one.probabilities is None for one in judgements)
    unsure = sum(one.label is None for one in judgements) - refused
    return {"photos": {"refused": share(refused, len(photos)), "uncertain": share(unsure, len(photos))}}


def _identity(classifier: Classifier) -> dict[str, Any]:
    identity = classifier.identity
    return {
        "name": identity.name,
        "version": identity.version,
        "weights_sha256": identity.weights_sha256,
        "input": f"{identity.input_height}x{identity.input_width}",
        "thresholds": dict(identity.thresholds),
    }


if __name__ == "__main__":
    import sys

    print(
        jsonlib.dumps(
            evaluate_folder(Path(sys.argv[1]), json=Path(sys.argv[2]) if len(sys.argv) > 2 else None), indent=1
        )
    )
