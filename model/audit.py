"""Copies of the same exam in a data folder, exact and near, within and across the parts of a split.

A folder laid out as docs/model.md says is read by its manifest and the fixed split; the published layout (train/<class>
and test/<class>) by its folders.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.errors import Rejected
from model.dataset import part_of, read_manifest
from model.preprocessing import prepare

NEAR = 0.8  # Jaccard index of the traces; different exams of the public folders reach 0.37 at most
_SIZE = (96, 160)  # px at which traces are compared
_INK = 128
_PARTS = ("train", "validation", "test")
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True, slots=True)
class Item:
    """A file of a data folder: which part of the split it is in, and its class."""

    path: Path
    part: str
    label: str


@dataclass(frozen=True, slots=True)
class Copies:
    """Files that show the same exam."""

    items: tuple[Item, ...]
    exact: bool

    @property
    def parts(self) -> set[str]:
        return {item.part for item in self.items}

    @property
    def labels(self) -> set[str]:
        return {item.label for item in self.items}


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found."""

    files: int
    distinct: int
    copies: tuple[Copies, ...]
    by_class: dict[str, tuple[int, int]]
    leaked: dict[str, tuple[int, int]]

    @property
    def leaks(self) -> bool:
        return any(count for count, _of in self.leaked.values())

    def text(self) -> str:
        """The audit in lines for a reader."""
        lines = [f"{self.files} files show {self.distinct} distinct exams."]
        lines += [f"  {name}: {files} files, {distinct} distinct" for name, (files, distinct) in self.by_class.items()]
        mixed = [one for one in self.copies if len(one.labels) > 1]
        if mixed:
            lines.append(
                f"{len(mixed)} exams stand under more than one class, for example {mixed[0].items[0].path.name}."
            )
        if not self.leaks:
            return "\n".join([*lines, "No exam is on both sides of the split."])
        lines.append("THE SPLIT LEAKS: a score on it says how well copies are recognised, not how well ECGs are read.")
        for part, (count, of) in self.leaked.items():
            lines.append(
                f"  {part}: {count} of {of} files ({count / max(1, of):.0%}) show an exam that is in train too"
            )
        return "\n".join([*lines, "Split by exam, or say --allow-leak to go on nonetheless."])


def audit_folder(folder: Path, near: bool = True) -> Audit:
    """Audit a data folder of either layout. Raises Rejected when it holds neither."""
    items = list(_items(folder))
    if not items:
        raise Rejected(f"{folder} holds neither manifest.csv nor train/ and test/ with a folder a class")
    exact = _exact_groups(items)
    groups = _joined(exact) if near else exact
    return _audit(items, groups)


def _items(folder: Path) -> Iterator[Item]:
    if (folder / "manifest.csv").exists():
        for exam in read_manifest(folder):
            path = exam.path if exam.kind == "sheet" else exam.path.with_suffix(".dat")
            path = path if path.exists() else exam.path.with_suffix(".mat")
            yield Item(path, part_of(exam), exam.label)
        return
    for part in _PARTS:
        for path in sorted((folder / part).glob("*/*")):
            if path.suffix.lower() in _PICTURES:
                yield Item(path, part, path.parent.name)


def _exact_groups(items: Sequence[Item]) -> list[list[Item]]:
    by_hash: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        by_hash[hashlib.sha256(item.path.read_bytes()).hexdigest()].append(item)
    return list(by_hash.values())


def _joined(groups: list[list[Item]]) -> list[list[Item]]:
    """Exact groups whose pictures show nearly the same traces, put together."""
    pictured = [group for group in groups if group[0].path.suffix.lower() in _PICTURES]
    others = [group for group in groups if group[0].path.suffix.lower() not in _PICTURES]
    if len(pictured) < 2:
        return groups
    similar = similarity(np.stack([traces_of(group[0].path) for group in pictured])) >= NEAR
    joined: list[list[Item]] = []
    seen: set[int] = set()
    for first in range(len(pictured)):
        if first not in seen:
            members = _reachable(similar, first)
            seen |= members
            joined.append([item for member in sorted(members) for item in pictured[member]])
    return joined + others


def _reachable(similar: NDArray[np.bool_], first: int) -> set[int]:
    reached, todo = {first}, [first]
    while todo:
        fresh = set(np.flatnonzero(similar[todo.pop()]).tolist()) - reached
        reached |= fresh
        todo += fresh
    return reached


def traces_of(path: Path) -> NDArray[np.bool_]:
    """Where a picture's traces are, at comparing size; bool (pixels,)."""
    rgb = np.asarray(Image.open(path).convert("RGB"))
    return (prepare(rgb, *_SIZE).pixels[:, :, 0] < _INK).ravel()


def similarity(traces: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Jaccard index of every two pictures' traces, 0 to 1."""
    values = traces.astype(np.float32)
    shared = values @ values.T
    sizes = values.sum(axis=1)
    return shared / np.maximum(sizes[:, None] + sizes[None, :] - shared, 1.0)


def _audit(items: Sequence[Item], groups: list[list[Item]]) -> Audit:
    copies = tuple(
        Copies(tuple(group), len({item.path.stat().st_size for item in group}) == 1)
        for group in groups
        if len(group) > 1
    )
    files = Counter(item.label for item in items)
    distinct = Counter(label for group in groups for label in {item.label for item in group})
    learned = {item.path for group in groups if any(one.part == "train" for one in group) for item in group}
    leaked = {
        part: (sum(item.path in learned for item in mine), len(mine))
        for part in _PARTS[1:]
        if (mine := [item for item in items if item.part == part])
    }
    by_class = {label: (files[label], distinct[label]) for label in sorted(files)}
    return Audit(len(items), len(groups), copies, by_class, leaked)


if __name__ == "__main__":
    import sys

    print(audit_folder(Path(sys.argv[1])).text())
