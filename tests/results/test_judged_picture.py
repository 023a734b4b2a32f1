"""The judged picture is kept without a change, and the heat map's colours lie over it as its strength says."""

import io

import numpy as np
import pytest
from PIL import Image

from core.values import Box, Judgement, Picture
from dicom_node.heatmap_picture import colours, overlay, picture_png, spread


@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 5, 3), (300, 211, 3)])
def test_a_picture_comes_out_of_its_png_as_it_went_in(shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    for one in (pixels, pixels[::-1, ::-1]):
        file = Image.open(io.BytesIO(picture_png(one)))
        file.load()
        assert (file.format, file.mode) == ("PNG", "RGB")
        assert np.array_equal(np.asarray(file), one)


def test_the_map_is_mixed_with_the_picture_by_its_heat() -> None:
    rng = np.random.default_rng(2)
    picture = Picture(rng.integers(0, 256, (800, 1000, 3), dtype=np.uint8))
    judgement = Judgement(None, None, None, rng.random((6, 8), dtype=np.float32), Box(0.1, 0.1, 0.9, 0.8), 1.0)
    heat = spread(judgement.heat, judgement.area, (800, 1000))
    share = 0.5 * heat[..., None]
    expected = picture.rgb * (1 - share) + 255 * colours(heat) * share
    found = np.asarray(overlay(picture, judgement, 0.5)).astype(np.float32)
    assert np.abs(found - expected).max() <= 3
    assert np.array_equal(found[:80], picture.rgb[:80])
