"""Fits which way up a sheet lies: `python -m model.orientation DATA` prints out-of-fold figures and writes the weights.

Logistic regression on upright pictures alone: evidence changes its sign when a sheet is turned, so that the turned
ones would say the same again. Five folds by exam; and, harder, every group of devices judged by the others.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.optimize import minimize

from model.augmentation import augment_sheet, augment_signal
from model.dataset import Exam, hash_place, read_manifest, read_signal, service_picture
from model.preprocessing import ruled_ink
from model.preprocessing_orientation import DOUBTFUL, LAYOUT, SURE, WEIGHTS, asymmetry
from model.rendering import draw_sheet, random_style

RIDGE = 1e-3
FOLDS = 5
# A kind's weight: photographs are few and of many devices, drawn sheets of random styles the most varied
KINDS = {"sheet": 1, "sheet varied": 1, "signal": 1, "signal varied": 1, "signal, any style": 2, "page": 3, "photo": 8}
GROUPS = (("sheet", "sheet varied", "page"), ("photo",), ("signal", "signal varied", "signal, any style"))
Array = NDArray[np.float64]


def upright_pictures(data: Path) -> Iterator[tuple[str, str, NDArray[np.uint8]]]:
    """Kind, key of the exam and picture: all that lie upright in a data folder, varied and drawn in other styles."""
    for exam in read_manifest(data):
        picture = service_picture(exam)
        yield exam.kind, exam.key, picture
        yield f"{exam.kind} varied", exam.key, augment_sheet(picture, _random(exam, 3))
        if exam.kind == "signal":
            rng = np.random.default_rng([7, hash_place(exam.key, 2**31), 0])
            signal = augment_signal(read_signal(exam), rng)
            yield "signal, any style", exam.key, draw_sheet(signal, random_style(rng)).rgb
    for kind, folder in (("page", "pages"), ("photo", "photos")):
        for path in sorted((data / folder).rglob("*.*g")):
            with Image.open(path) as image:  # a page is an exam of the sheets: it stays in its fold
                yield kind, f"sheets/{path.parent.name}/{path.name}", np.asarray(image.convert("RGB"))


def _random(exam: Exam, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, hash_place(exam.key, 2**31)])


def fit(views: Array, shares: Array) -> Array:
    """Weights of a logistic regression without a constant, on upright pictures alone."""

    def loss(weights: Array) -> tuple[float, Array]:
        odds = views @ weights
        slope = -(shares / (1 + np.exp(odds))) @ views
        return float(shares @ np.logaddexp(0, -odds) + RIDGE / 2 * weights @ weights), slope + RIDGE * weights

    return np.asarray(minimize(loss, np.zeros(views.shape[1]), jac=True, method="L-BFGS-B").x)


def balanced(views: Array) -> Array:
    """What each of both views is divided by, so that neither outweighs the other by its size alone."""
    first = views.shape[1] - LAYOUT[0] * LAYOUT[1] // 2
    sizes = [np.sqrt((part**2).sum(axis=1).mean()) for part in (views[:, :first], views[:, first:])]
    return np.repeat(sizes, (first, views.shape[1] - first))


def judged_by_others(views: Array, shares: Array, parts: NDArray[np.int64]) -> Array:
    """Evidence for each picture from weights fitted without its part."""
    evidence = np.zeros(len(views))
    for part in np.unique(parts):
        mine = parts == part
        evidence[mine] = views[mine] @ fit(views[~mine], shares[~mine] / shares[~mine].sum())
    return evidence


def table(kinds: NDArray[np.str_], evidence: Array) -> str:
    """A line for each kind: wrong turns, wrong refusals, and what of turned sheets is turned back or refused."""
    lines = [
        "| kind | pictures | upright, turned | upright, refused | turned, found | turned, refused | turned, missed |"
    ]
    lines.append("|-|-|-|-|-|-|-|")
    for kind in KINDS:
        mine = evidence[kinds == kind]
        counts = [*_three(mine), *_three(-mine)]
        upright, doubted, _left, found, refused, missed = counts
        lines.append(f"| {kind} | {mine.size} | {upright} | {doubted} | {found} | {refused} | {missed} |")
    return "\n".join(lines)


def _three(evidence: Array) -> tuple[int, int, int]:
    """How many pictures are turned, refused, and left as they lie."""
    turned, doubted = int((evidence <= -SURE).sum()), int((evidence <= -DOUBTFUL).sum())
    return turned, doubted - turned, evidence.size - doubted


def main() -> None:
    found = [(kind, key, asymmetry(*ruled_ink(rgb))) for kind, key, rgb in upright_pictures(Path(sys.argv[1]))]
    kinds, keys = (np.array([one[place] for one in found]) for place in (0, 1))
    weights = study(kinds, keys, np.array([one[2] for one in found]))
    WEIGHTS.write_text(json.dumps({"weights": weights}) + "\n", encoding="utf-8")


def study(kinds: NDArray[np.str_], keys: NDArray[np.str_], raw: Array) -> list[float]:
    """Print both tables; the weights fitted on everything."""
    sizes = balanced(raw)
    views, shares = raw / sizes, np.array([KINDS[kind] for kind in kinds], np.float64)
    folds = np.array([hash_place(f"orientation:{key}", FOLDS) for key in keys])
    print(f"By exam\n\n{table(kinds, judged_by_others(views, shares, folds))}\n")
    groups = np.array([next(n for n, group in enumerate(GROUPS) if kind in group) for kind in kinds])
    print(f"By devices\n\n{table(kinds, judged_by_others(views, shares, groups))}")
    return [float(f"{weight:.4g}") for weight in fit(views, shares / shares.sum()) / sizes]


if __name__ == "__main__":
    main()
