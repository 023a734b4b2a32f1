"""Activations of the frozen part, made once: training on them costs a sixth of training on pictures."""

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.config import Config
from model.dataset import Exam, prepared_pictures
from model.preprocessing import PREPROCESSING_VERSION
from model.progress import steps
from model.rendering import STYLES_VERSION

_TOGETHER = 32


@dataclass(frozen=True, slots=True, eq=False)
class Cache:
    """Activations float16 (pictures, height, width, channels) of exams; `keys` and `variants` say whose each is."""

    activations: NDArray[np.float16]
    keys: list[str]
    variants: NDArray[np.int64]

    def with_more(self, other: "Cache") -> "Cache":
        """Both, in memory."""
        return Cache(
            np.concatenate([self.activations, other.activations]),
            self.keys + other.keys,
            np.concatenate([self.variants, other.variants]),
        )

    def rows_of(self, keys: set[str], most_variants: int | None = None) -> NDArray[np.int64]:
        """Rows of some exams; where `most_variants` is given, only those below it, and one view of each."""
        mine = np.array([key in keys for key in self.keys])
        if most_variants is not None:
            mine &= (self.variants >= 0) & (self.variants < most_variants)
        return np.flatnonzero(mine)


def _draw(job: tuple[Exam, Sequence[int], tuple[int, int], int]) -> list[tuple[str, int, NDArray[np.uint8]]]:
    exam, numbers, size, seed = job
    return [(one.key, number, pixels) for one, number, pixels in prepared_pictures([exam], numbers, size, seed)]


def draw_pictures(jobs: Sequence[tuple[Exam, Sequence[int]]], config: Config, folder: Path, processes: int = 2) -> Path:
    """Network inputs of exams as uint8 (pictures, height, width) on disk; made once, then found again.

    A job is an exam and which of its pictures are wanted (`model.dataset.prepared_picture`).
    The file's name tells size, seed, and which pictures of which exams it holds, so that others are not taken for them.
    """
    target = folder / f"pictures-{config.height}x{config.width}-{config.seed}-{_digest(jobs)}.npy"
    index = target.with_suffix(".json")
    if index.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    size = (config.height, config.width)
    total = sum(len(numbers) for _exam, numbers in jobs)
    pixels = np.lib.format.open_memmap(target, "w+", np.uint8, (total, *size))
    keys: list[str] = []
    variants_seen: list[int] = []
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        exams = pool.map(_draw, [(exam, numbers, size, config.seed) for exam, numbers in jobs], chunksize=4)
        for drawn in steps(exams, len(jobs), "drawing exams"):
            for key, number, picture in drawn:
                pixels[len(keys)] = picture
                keys.append(key)
                variants_seen.append(number)
    pixels.flush()
    index.write_text(json.dumps({"keys": keys, "variants": variants_seen}), encoding="utf-8")
    return target


def _digest(jobs: Sequence[tuple[Exam, Sequence[int]]]) -> str:
    same_input = PREPROCESSING_VERSION.split(".")[0]
    told = json.dumps([same_input, STYLES_VERSION, [(exam.key, list(numbers)) for exam, numbers in jobs]])
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def activate(pictures: Path, trunk: Any, folder: Path, name: str) -> Cache:
    """Send pictures through the frozen part, going on where an earlier run was stopped."""
    index = json.loads(pictures.with_suffix(".json").read_text(encoding="utf-8"))
    pixels = np.load(pictures, mmap_mode="r")
    target, progress = folder / f"{name}.npy", folder / f"{name}.progress"
    shape = (len(pixels), *trunk.output_shape[1:])
    done = int(progress.read_text()) if progress.exists() and target.exists() else 0
    mode = "r+" if done else "w+"
    activations = np.lib.format.open_memmap(target, mode, np.float16, shape)
    starts = range(done, len(pixels), _TOGETHER)
    for start in steps(starts, len(starts), "pictures through the frozen part"):
        some = pixels[start : start + _TOGETHER].astype(np.float32)
        padded = np.zeros((_TOGETHER, *some.shape[1:]), np.float32)
        padded[: len(some)] = some
        values = trunk.predict_on_batch(np.repeat(padded[..., None], 3, axis=3))
        activations[start : start + len(some)] = np.asarray(values)[: len(some)]
        progress.write_text(str(start + len(some)))
    activations.flush()
    return Cache(activations, index["keys"], np.array(index["variants"]))
