"""The views of one ECG whose logits are averaged: as it lies, and moved by a part of a cell of its maps.

A network with strides reads what falls on the edge of a cell otherwise than what falls in its middle (Zhang 2019,
"Making convolutional networks shift-invariant again"). The last maps' cells are 32 px wide and high, those before 16.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Down and to the right, px: 8 is half a cell of the maps before the last; those first that differ most
OFFSETS = ((0, 0), (8, 8), (8, 0), (0, 8))


def moved(pixels: NDArray[np.uint8], view: int) -> NDArray[np.uint8]:
    """One view of network inputs uint8 (..., height, width): what leaves on one side is white margin on the other."""
    down, across = OFFSETS[view]
    height, width = pixels.shape[-2:]
    there = np.full_like(pixels, 255)
    there[..., down:, across:] = pixels[..., : height - down, : width - across]
    return there


def all_views(pixels: Any, count: int) -> Any:
    """The same as a tensor of any backend: (batch, height, width) to (count * batch, height, width), view by view."""
    from keras import ops

    height, width = pixels.shape[-2:]
    views = [
        ops.pad(pixels[:, : height - down, : width - across], ((0, 0), (down, 0), (across, 0)), constant_values=255)
        for down, across in OFFSETS[:count]
    ]
    return ops.concatenate(views)


def averaged(logits: Any, count: int) -> Any:
    """Logits (count * batch, labels), view by view, to their means (batch, labels)."""
    from keras import ops

    return ops.mean(ops.reshape(logits, (count, -1, logits.shape[-1])), axis=0)
