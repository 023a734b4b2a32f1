"""Endless drawn sheets to learn from without a diagnosis: hearts of formulas and of records, varied, on any paper.

What is to be said of a sheet is what its signal measures (`model/targets.py`) and what was done to the heart: which
wall was injured or scarred (`model/physiology.py`). Where each lead stands is known, because the sheet was drawn here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import Rejected
from core.values import Box, LeadBox, Signal
from model.augmentation import augment_ink, augment_signal
from model.dataset import STANDARD_SHARE
from model.physiology import TERRITORIES, Injury, with_injury
from model.preprocessing import Prepared, prepare
from model.rendering import LEADS, STANDARD_SHEET, draw_sheet, random_style
from model.synthetic import random_signal
from model.targets import COUNT, LEAD_NAMES, targets_of

STRIPS = 16  # leads on a sheet at most: twelve and three rhythm strips
WALLS = tuple(TERRITORIES)
WHOLE = COUNT + 2 * len(WALLS)  # of a sheet: its signal's targets, then injury and scar by wall
FORMULA_SHARE = 0.4  # of hearts; the others are records
SCAN_SHARE = 1 / 3  # of sheets that are printed and scanned before they are read
_LARGEST_MV = 0.5  # ST change that counts as one
# Shares of hearts up to which each change is made; the rest stay as they are
_ACUTE, _EVOLVING, _OLD, _ISCHAEMIC = 0.25, 0.4, 0.55, 0.65
_MOST_TRIES = 20


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Sheets as network inputs and what there is to say of them.

    `pictures` uint8 (sheets, height, width), trace dark on white. `whole` (sheets, WHOLE). By strip, in (sheets,
    STRIPS, ...): `boxes` left, top, right, bottom in fractions of the input; `lead` its number in LEADS, -1 where there
    is none; `said` its targets (LEAD_NAMES).
    """

    pictures: NDArray[np.uint8]
    whole: NDArray[np.float32]
    boxes: NDArray[np.float32]
    lead: NDArray[np.int32]
    said: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.pictures)

    def part(self, first: int, stop: int) -> "Drawn":
        some = slice(first, stop)
        return Drawn(self.pictures[some], self.whole[some], self.boxes[some], self.lead[some], self.said[some])

    def areas(self, rows: int, columns: int) -> NDArray[np.float32]:
        """How much of each strip lies in each cell of a grid over the input: (sheets, STRIPS, cells), sums of one."""
        down = _overlap(self.boxes[..., 1], self.boxes[..., 3], rows)
        across = _overlap(self.boxes[..., 0], self.boxes[..., 2], columns)
        shares = down[..., :, None] * across[..., None, :]
        flat = shares.reshape(*shares.shape[:2], rows * columns)
        return flat / np.maximum(flat.sum(axis=-1, keepdims=True), 1e-6)


def _overlap(begin: NDArray[np.float32], end: NDArray[np.float32], cells: int) -> NDArray[np.float32]:
    edges = np.arange(cells, dtype=np.float32) / cells
    return np.maximum(0, np.minimum(end[..., None], edges + 1 / cells) - np.maximum(begin[..., None], edges))


def draw_lesson(records: Sequence[Signal], count: int, size: tuple[int, int], seed: Sequence[int]) -> Drawn:
    """So many sheets of (height, width); the same for the same records and seed. Raises Rejected."""
    sheets = [_draw_one(records, size, np.random.default_rng([*seed, number])) for number in range(count)]
    return join(sheets)


def join(parts: Sequence[Drawn]) -> Drawn:
    return Drawn(
        np.concatenate([one.pictures for one in parts]),
        np.concatenate([one.whole for one in parts]),
        np.concatenate([one.boxes for one in parts]),
        np.concatenate([one.lead for one in parts]),
        np.concatenate([one.said for one in parts]),
    )


def _draw_one(records: Sequence[Signal], size: tuple[int, int], rng: np.random.Generator) -> Drawn:
    for _try in range(_MOST_TRIES):
        signal, walls = _changed_heart(records, rng)
        found = targets_of(signal)
        if found is None:
            continue
        style = STANDARD_SHEET if rng.random() < STANDARD_SHARE else random_style(rng)
        picture = draw_sheet(signal, style)
        prepared = prepare(augment_ink(picture.rgb, rng) if rng.random() < SCAN_SHARE else picture.rgb, *size)
        if prepared.quarters or prepared.angle:
            continue  # not as it was drawn, so that its leads' places are not known
        boxes, lead, said = strips_of(picture.leads, prepared, found.leads)
        whole = np.concatenate([found.whole, walls])
        return Drawn(prepared.pixels[None, :, :, 0], whole[None], boxes[None], lead[None], said[None])
    raise Rejected(f"{_MOST_TRIES} records in a row gave no sheet with measurable beats; check the folder's signals")


def _changed_heart(records: Sequence[Signal], rng: np.random.Generator) -> tuple[Signal, NDArray[np.float32]]:
    """A heart, and how much each wall was injured (-1 to 1) and scarred (0 or 1)."""
    formula = not records or rng.random() < FORMULA_SHARE
    signal = random_signal(rng) if formula else records[int(rng.integers(len(records)))]
    walls = np.zeros((2, len(WALLS)), np.float32)
    wall = int(rng.integers(len(WALLS)))
    way = rng.random()
    if way < _ISCHAEMIC:
        injury = _any_injury(way, rng)
        signal = with_injury(signal, WALLS[wall], injury, rng)
        walls[:, wall] = injury.st_mv / _LARGEST_MV, float(injury.q_wave)
    return augment_signal(signal, rng), walls.ravel()


def _any_injury(way: float, rng: np.random.Generator) -> Injury:
    """Acute, evolving, old, or the depression that ischaemia makes."""
    if way < _ACUTE:
        return Injury(float(rng.uniform(0.08, 0.5)), bool(rng.random() < 0.4))
    if way < _EVOLVING:
        return Injury(float(rng.uniform(0.05, 0.25)), q_wave=True, t_mv=-float(rng.uniform(0.1, 0.6)))
    if way < _OLD:
        return Injury(0.0, q_wave=True, t_mv=-float(rng.uniform(0.0, 0.4)))
    return Injury(-float(rng.uniform(0.05, 0.25)), q_wave=False, t_mv=-float(rng.uniform(0.0, 0.3)))


def strips_of(
    leads: Sequence[LeadBox], prepared: Prepared, said: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]]:
    """`boxes`, `lead` and `said` of one sheet as `Drawn` has them, from what was drawn and what each lead says."""
    boxes = np.zeros((STRIPS, 4), np.float32)
    numbers = np.full(STRIPS, -1, np.int32)
    values = np.zeros((STRIPS, len(LEAD_NAMES)), np.float32)
    for place, one in enumerate(leads[:STRIPS]):
        boxes[place] = _in_input(one.box, prepared)
        numbers[place] = LEADS.index(one.lead)
        values[place] = said[numbers[place]]
    return boxes, numbers, values


def _in_input(box: Box, prepared: Prepared) -> NDArray[np.float32]:
    """A box of the page as fractions of the network's input."""
    area, content = prepared.area, prepared.content
    across = (content.right - content.left) / (area.right - area.left)
    down = (content.bottom - content.top) / (area.bottom - area.top)
    x = content.left + (np.array([box.left, box.right]) - area.left) * across
    y = content.top + (np.array([box.top, box.bottom]) - area.top) * down
    return np.clip(np.array([x[0], y[0], x[1], y[1]], np.float32), 0, 1)
