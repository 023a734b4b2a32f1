"""How fast pictures are prepared and classified here: `python -m benchmarks.model_speed [ROUNDS]`.

Numbers of one run may be compared with each other; between runs and machines only with care.
"""

import resource
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from model.classifier import Classifier, default_model_dir
from model.preprocessing import prepare
from model.rendering import draw_sheet, random_style
from model.synthetic import synthetic_signal

BATCH = 8


def main(rounds: int) -> None:
    """Print medians in milliseconds a picture, and the memory held."""
    rng = np.random.default_rng(1)
    pictures = [draw_sheet(synthetic_signal(55 + 9 * n, seed=n), random_style(rng)) for n in range(BATCH)]
    started = time.perf_counter()
    exact = Classifier.load(default_model_dir(), batch_size=BATCH)
    print(f"load, check and warm up   {1000 * (time.perf_counter() - started):8.0f} ms")
    size = (exact.identity.input_height, exact.identity.input_width)
    single = Classifier.load(default_model_dir(), batch_size=1)
    half = Classifier.load(default_model_dir(), batch_size=BATCH, precision="mixed_bfloat16")
    inputs = np.stack([prepare(one.rgb, *size).pixels[:, :, 0] for one in pictures])
    works = {
        "prepare a sheet": (lambda: prepare(pictures[0].rgb, *size), 1),
        "network, batch of 1": (lambda: single.probabilities(inputs[:1]), 1),
        f"network, batch of {BATCH}": (lambda: exact.probabilities(inputs), BATCH),
        f"network, batch of {BATCH}, bf16": (lambda: half.probabilities(inputs), BATCH),
        "picture to judgement": (lambda: exact.classify(pictures), BATCH),
    }
    for name, values in _in_turn({name: work for name, (work, _count) in works.items()}, rounds).items():
        print(f"{name:25} {1000 * statistics.median(values) / works[name][1]:8.1f} ms a picture")
    print(f"memory held at most       {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:8.0f} MB")


def _in_turn(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each work; all take part in every round, so that a slow spell slows all alike."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            taken[name].append(time.perf_counter() - started)
    return taken


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
