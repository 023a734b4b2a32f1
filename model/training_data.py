"""Pictures and activations of a data folder, made once for every training on it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from core.errors import Rejected
from model.cache import Cache, activate, draw_pictures
from model.config import Config
from model.dataset import Exam, made_infarctions, read_manifest
from model.fitting import Examples
from model.labels import NOT_NORMAL, index_of
from model.network import trunk_of


def pictures_of(exam: Exam, config: Config) -> range:
    """Which pictures an exam is made into: only its views where the network lacks its label."""
    if exam.made:
        return range(config.made_variants)  # never judged
    variants = config.sheet_variants if exam.kind == "sheet" else config.signal_variants
    return range(1 - config.views, 1 if index_of(exam.label) is None else variants)


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """Exams with the activations of all their pictures; rows of `cache` and `exam_of` go together."""

    exams: dict[str, Exam]
    cache: Cache
    pictures: Path
    labels: NDArray[np.int64]

    def rows(self, keys: set[str], most_variants: int | None = None) -> NDArray[np.int64]:
        return self.cache.rows_of(keys, most_variants)

    def judged(self, keys: set[str], pooled: NDArray[np.float32]) -> tuple[list[Exam], NDArray[np.float32]]:
        """Those of some exams that are no made ones, and pooled maps (exams, maps) of each as the service judges it.

        The head is linear: its logits of the mean over an exam's views are the mean of its logits.
        """
        views: dict[str, list[int]] = {}
        for row in self.rows(keys):
            if self.cache.variants[row] <= 0 and not self.exams[self.cache.keys[row]].made:
                views.setdefault(self.cache.keys[row], []).append(row)
        means = [pooled[rows].mean(axis=0) for rows in views.values()]
        return [self.exams[key] for key in views], np.stack(means) if means else pooled[:0]

    def thinned(self, most_variants: int) -> "Data":
        """The same exams with at most so many pictures each, in memory."""
        rows = self.cache.rows_of(set(self.exams), most_variants)
        cache = Cache(self.cache.activations[rows], [self.cache.keys[row] for row in rows], self.cache.variants[rows])
        return Data(self.exams, cache, self.pictures, self.labels[rows])

    def examples(self, rows: NDArray[np.int64], inputs: NDArray[Any]) -> Examples:
        return Examples(inputs[rows], self.labels[rows])


def read_data(folder: Path, network: keras.Model, config: Config, work: Path, init: str) -> Data:
    """Draw and activate every exam of a data folder; `init` names the frozen weights in the file names."""
    exams = read_manifest(folder)
    if not any(index_of(exam.label) is not None for exam in exams):
        raise Rejected(f"{folder} holds no exam of a label that the network knows; see docs/model.md")
    made = made_infarctions(exams) if config.made_variants else []
    pictures, cache = activated([(exam, pictures_of(exam, config)) for exam in exams], network, config, work, init)
    if made:
        more = [(exam, pictures_of(exam, config)) for exam in made]
        cache = cache.with_more(activated(more, network, config, work / "made", init)[1])
    by_key = {exam.key: exam for exam in (*exams, *made)}
    labels = np.array([_label(by_key[key], config) for key in cache.keys])
    return Data(by_key, cache, pictures, labels)


def activated(
    jobs: list[tuple[Exam, range]], network: keras.Model, config: Config, work: Path, init: str
) -> tuple[Path, Cache]:
    """Draw the wanted pictures of exams and send them through the frozen part; what `work` holds is taken."""
    pictures = draw_pictures(jobs, config, work)
    return pictures, activate(pictures, trunk_of(network), work, f"{pictures.stem}-{network.name}-{init}")


def _label(exam: Exam, config: Config) -> int:
    """Index of the label; -1 for what is not trained on: labels that the network lacks, infarctions left out.

    `NOT_NORMAL` where the network lacks the label and the configuration says that it is known to be no healthy heart's.
    """
    index = index_of(exam.label)
    if index is None:
        return NOT_NORMAL if exam.label in config.not_normal else -1
    left_out = exam.label == "myocardial_infarction" and not exam.made and exam.mi_kind not in config.mi_kinds
    return -1 if left_out else index


def trainable_keys(data: Data, keys: set[str]) -> set[str]:
    """Those of some exams that have a label to train on."""
    usable = {key for key, label in zip(data.cache.keys, data.labels, strict=True) if label >= 0}
    return keys & usable


def watchable_keys(data: Data, keys: set[str]) -> set[str]:
    """Those of some exams that recall can be measured on: real ones of the labels that the network has."""
    usable = trainable_keys(data, keys)
    return {key for key in usable if index_of(data.exams[key].label) is not None and not data.exams[key].made}


def pooled_features(network: keras.Model, cache: Cache, path: Path) -> NDArray[np.float32]:
    """Pooled maps (pictures, channels) before the head, with the last stage as it stands; kept in a file."""
    if path.exists():
        return np.asarray(np.load(path))
    from model.network import CUT

    middle = keras.Model(network.get_layer(CUT[network.name]).output, network.get_layer("pooled").output)
    parts = []
    for start in range(0, len(cache.keys), 32):
        part = np.zeros((32, *cache.activations.shape[1:]), np.float32)
        some = cache.activations[start : start + 32]
        part[: len(some)] = some
        parts.append(np.asarray(keras.ops.convert_to_numpy(middle.predict_on_batch(part)), np.float32)[: len(some)])
    pooled = np.concatenate(parts)
    np.save(path, pooled)
    return pooled
