"""Figures of an evaluation as PNG, and one page that shows them beside the numbers."""

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from core.values import LABELS, NOTICE
from model.evaluate import Judged, said_of
from model.metrics import wilson
from model.scores import Said, confusion, risk_curve

mpl.use("Agg")
import matplotlib.pyplot as plt
import seaborn

_BINS = 10


def write_report(judged: Sequence[Judged], scores: dict[str, Any], folder: Path) -> Path:
    """Write figures and `report.html` to a folder; the page."""
    folder.mkdir(parents=True, exist_ok=True)
    figures: list[str] = []
    for kind in ("sheet", "signal"):
        said = said_of([one for one in judged if one.exam.kind == kind])
        if not len(said.truth):
            continue
        for name, draw in (("confusion", _confusion), ("roc", _roc), ("reliability", _reliability), ("risk", _risk)):
            figure, axes = plt.subplots(figsize=(4.6, 4.0), layout="constrained")
            draw(axes, said)
            axes.set_title(f"{kind}s: {axes.get_title()}")
            figures.append(f"{kind}s-{name}.png")
            figure.savefig(folder / figures[-1], dpi=110)
            plt.close(figure)
    page = folder / "report.html"
    page.write_text(_page(figures, classification_table(judged), scores), encoding="utf-8")
    return page


def classification_table(judged: Sequence[Judged]) -> str:
    """scikit-learn's classification report with support, sheets and signals apart."""
    from sklearn.metrics import classification_report

    parts = []
    for kind in ("sheet", "signal"):
        said = said_of([one for one in judged if one.exam.kind == kind])
        if len(said.truth):
            names = [label.value for label in LABELS]
            table = classification_report(
                said.truth, said.said, labels=range(len(LABELS)), target_names=names, zero_division=0
            )
            parts.append(f"{kind}s\n{table}")
    return "\n".join(parts)


def _confusion(axes: Any, said: Said) -> None:
    names = [label.value.replace("_", "\n") for label in LABELS]
    seaborn.heatmap(
        np.array(confusion(said)), annot=True, fmt="d", cbar=False, cmap="Blues", ax=axes,
        xticklabels=[*names, "none"], yticklabels=names,
    )  # fmt: skip
    axes.set(title="answers by true label", xlabel="said", ylabel="true")


def _roc(axes: Any, said: Said) -> None:
    for index, label in enumerate(LABELS):
        positive, score = said.truth == index, said.probabilities[:, index]
        if positive.any() and not positive.all():
            order = np.argsort(-score, kind="stable")
            hits = np.concatenate([[0], np.cumsum(positive[order])]) / positive.sum()
            false = np.concatenate([[0], np.cumsum(~positive[order])]) / (~positive).sum()
            axes.plot(false, hits, label=label.value)
    axes.plot([0, 1], [0, 1], color="0.7", lw=0.8)
    axes.set(title="ROC, each label against the others", xlabel="1 - specificity", ylabel="recall")
    axes.legend(fontsize=7)


def _reliability(axes: Any, said: Said) -> None:
    confidence = said.probabilities.max(axis=1)
    correct = said.probabilities.argmax(axis=1) == said.truth
    for part in np.array_split(np.argsort(confidence), _BINS):
        if len(part):
            low, high = wilson(int(correct[part].sum()), len(part))
            share = correct[part].mean()
            reach = [[max(0, share - low)], [max(0, high - share)]]
            axes.errorbar(confidence[part].mean(), share, reach, fmt="o", color="C0")
    axes.plot([0, 1], [0, 1], color="0.7", lw=0.8)
    axes.set(title="reliability, bins of equal mass", xlabel="mean confidence", ylabel="share that is right (95 %)")


def _risk(axes: Any, said: Said) -> None:
    covered, risk = risk_curve(said.probabilities.max(axis=1), said.probabilities.argmax(axis=1) == said.truth)
    axes.plot(covered, risk)
    axes.set(title="error among the answered", xlabel="coverage", ylabel="error", ylim=(0, None))


def _page(figures: Sequence[str], table: str, scores: dict[str, Any]) -> str:
    pictures = "".join(f'<img src="{name}" alt="{name.removesuffix(".png")}">' for name in figures)
    numbers = html.escape(json.dumps(scores, indent=1))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Evaluation</title>'
        f"<h1>Evaluation</h1><p>{html.escape(NOTICE)}</p><pre>{html.escape(table)}</pre>{pictures}<pre>{numbers}</pre></html>"
    )
