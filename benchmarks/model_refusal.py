"""How often the readability gate refuses what is no 12-lead ECG, and what is one.

`python benchmarks/model_refusal.py DATA [OUT.json]`. Nothing here was made by the generators of training pictures: the
pictures that are no ECG are plots of matplotlib, parts of sheets, and the images in pydicom's package.
"""

import json
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pydicom
from PIL import Image
from pydicom.data import get_testdata_files
from pydicom.errors import InvalidDicomError

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
mpl.use("Agg")
import matplotlib.pyplot as plt

from model.card import read_card, shipped_model_dir
from model.config import config_from
from model.dataset import read_manifest, service_picture
from model.preprocessing import prepare
from model.readability import judge_readability
from model.rendering import draw_sheet
from model.scores import share
from model.synthetic import synthetic_signal

TIMES = 20  # pictures of each drawn kind
LEAST_SIDE = 64  # px


def plotted(draw: Callable[[Any], None], high: int = 7) -> Any:
    figure = plt.figure(figsize=(10, high), dpi=100)
    draw(figure)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
    plt.close(figure)
    return pixels


def drawn(rng: np.random.Generator) -> Iterator[tuple[str, Any]]:
    for number in range(TIMES):
        signal = synthetic_signal(50 + 4 * number, seed=number)
        lead, walk = signal.leads["II"], np.cumsum(rng.normal(size=(100, 3)), axis=0)
        noise = [np.convolve(rng.normal(size=2000), np.ones(8) / 8, "same") for _ in range(19)]
        time = np.linspace(0, 5, 200)
        flow = 8 * np.exp(-time) * (time > 0.1) * rng.uniform(0.7, 1.2)
        lines = ["The patient was seen in the clinic today and is well. " * 2] * 22
        yield "single lead", plotted(lambda f, y=lead: f.add_axes((0, 0, 1, 1)).plot(y, "k", lw=1))
        yield "a framed lead", plotted(lambda f, y=lead: f.subplots().plot(y, "k", lw=0.7), high=(7, 4, 3)[number % 3])
        yield "two framed leads", plotted(lambda f, s=signal.leads: two_framed(f, s["II"], s["V2"]))
        yield "line chart", plotted(lambda f, y=walk: f.subplots().plot(y))
        waves = np.stack(noise, axis=1) + 2 * np.arange(19)
        yield "EEG", plotted(lambda f, y=waves: f.add_axes((0, 0, 1, 1)).plot(y, "k", lw=0.7))
        yield "spirometry", plotted(lambda f, x=time, y=flow: f.subplots().plot(x, y, "b"))
        yield "text", plotted(lambda f, t=lines: [f.text(0.05, 0.95 - 0.04 * i, one) for i, one in enumerate(t)])
        sheet = draw_sheet(signal).rgb
        yield "a quarter of a sheet", sheet[: sheet.shape[0] // 4]
        yield "a third of a sheet", sheet[:, : sheet.shape[1] // 3]
        yield "blank grid", grid(int(rng.integers(14, 40)))
        yield "noise", rng.integers(0, 255, (800, 1200, 3)).astype(np.uint8)


def two_framed(figure: Any, upper: Any, lower: Any) -> None:
    above, below = figure.subplots(2, 1)
    above.plot(upper, "k", lw=1)
    below.plot(lower, "k", lw=1)


def grid(step: int) -> Any:
    pixels = np.full((800, 1200, 3), 255, np.uint8)
    pixels[::step] = pixels[:, ::step] = (255, 180, 180)
    return pixels


def scans() -> Iterator[tuple[str, Any]]:
    """CT, MR and ultrasound pictures in pydicom's package."""
    for path in get_testdata_files():
        try:
            pixels = pydicom.dcmread(path).pixel_array
        except (AttributeError, ValueError, RuntimeError, NotImplementedError, InvalidDicomError, OSError):
            continue
        while pixels.ndim > 3 or (pixels.ndim == 3 and pixels.shape[-1] not in (3, 4)):
            pixels = pixels[0]
        if min(pixels.shape[:2]) >= LEAST_SIDE:
            scaled = (255.0 * (pixels - float(pixels.min())) / (float(np.ptp(pixels)) or 1.0)).astype(np.uint8)
            yield "DICOM image", scaled[..., :3] if scaled.ndim == 3 else np.repeat(scaled[..., None], 3, axis=2)


def readable(data: Path) -> Iterator[tuple[str, Any]]:
    for exam in read_manifest(data):
        yield f"readable {exam.kind}", service_picture(exam)
    for folder in ("pages", "photos"):
        for path in sorted((data / folder).rglob("*.*g")):
            yield f"readable {folder}", np.asarray(Image.open(path).convert("RGB"))


def main() -> None:
    warnings.simplefilter("ignore")
    config = config_from(read_card(shipped_model_dir()).config)
    reasons: dict[str, Counter[str]] = defaultdict(Counter)
    for source in (drawn(np.random.default_rng(3)), scans(), readable(Path(sys.argv[1]))):
        for kind, rgb in source:
            reason = judge_readability(prepare(rgb, config.height, config.width))[1]
            reasons[kind][reason.value if reason else "readable"] += 1
    result = {
        kind: {"refused": share(sum(told.values()) - told["readable"], sum(told.values())), "reasons": dict(told)}
        for kind, told in reasons.items()
    }
    print(json.dumps(result, indent=1))
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
