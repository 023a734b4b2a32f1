"""Class activation maps as heat over the ECG area of a picture. Zhou et al. 2016."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.values import Box
from model.preprocessing import Prepared

LONG_SIDE = 160  # px of a heat map: more than the network's maps resolve, few enough to keep


def activation_map(maps: NDArray[np.float32], dense: NDArray[np.float32]) -> NDArray[np.float32]:
    """What speaks for a label: maps (height, width, channels) weighted by the label's dense weights, above zero."""
    return np.maximum(maps @ dense, 0.0).astype(np.float32)


def heat_over_area(activation: NDArray[np.float32], prepared: Prepared) -> tuple[NDArray[np.float32], Box]:
    """Heat in 0 to 1 over the ECG area, and that area in the picture as it came."""
    content = prepared.content
    rows, columns = prepared.pixels.shape[:2]
    box = (content.left * columns, content.top * rows, content.right * columns, content.bottom * rows)
    whole = Image.fromarray(activation).resize((columns, rows), Image.Resampling.BILINEAR)
    shrink = LONG_SIDE / max(box[2] - box[0], box[3] - box[1])
    size = max(1, round((box[2] - box[0]) * shrink)), max(1, round((box[3] - box[1]) * shrink))
    heat = np.asarray(whole.resize(size, Image.Resampling.BILINEAR, box=box), np.float32)
    heat = heat / heat.max() if heat.max() > 0 else np.zeros_like(heat)
    return turned_back(np.clip(heat, 0, 1), prepared.area, prepared.quarters)


def turned_back(heat: NDArray[np.float32], area: Box, quarters: int) -> tuple[NDArray[np.float32], Box]:
    """Heat and area of a picture that was turned counter-clockwise by quarters, as they lie in the picture itself."""
    for _ in range(quarters):
        area = Box(1 - area.bottom, area.left, 1 - area.top, area.right)
    return np.ascontiguousarray(np.rot90(heat, -quarters)), area
