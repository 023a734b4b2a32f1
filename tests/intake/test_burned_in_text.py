"""Text on a page never reaches the network: around the ruled paper it changes not one pixel of the input.

Print among the traces themselves, such as the leads' names, stays in the input. Seen to fail with the grid's search
replaced by the whole page.
"""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from model.preprocessing import prepare
from model.rendering import draw_sheet
from model.synthetic import synthetic_signal
from tests.conftest import DATA, need_data

GRID = (70, 290, 2170, 1520)
SIZE = (2213, 1572)
PLACES = {
    "header": [((80, 40), "ZZCANARY^NAME 1950-01-01"), ((80, 120), "ID 1234567"), ((1200, 60), "Sinus rhythm")],
    "just above the paper": [((80, 240), "ZZCANARY^NAME 1950-01-01")],
    "footer": [((80, 1525), "25 mm/s 10 mm/mV ZZCANARY")],
    "beside the paper": [((2, 600), "Z"), ((2180, 900), "Z")],
}


def _page(texts: Sequence[tuple[tuple[int, int], str]]) -> NDArray[np.uint8]:
    """A cart's page: a sheet on white, texts around it."""
    left, top, right, bottom = GRID
    page = Image.new("RGB", SIZE, "white")
    page.paste(
        Image.fromarray(draw_sheet(synthetic_signal(70, seed=1)).rgb).resize((right - left, bottom - top)), (left, top)
    )
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(40)
    for at, text in texts:
        draw.text(at, text, fill=(0, 0, 0), font=font)
    return np.asarray(page)


@pytest.mark.parametrize("place", PLACES)
def test_text_around_the_paper_changes_nothing_of_the_input(place: str) -> None:
    bare, printed = _page([]), _page(PLACES[place])
    assert (bare != printed).any()
    np.testing.assert_array_equal(prepare(printed, 384, 640).pixels, prepare(bare, 384, 640).pixels)


@pytest.mark.parametrize("path", sorted(DATA.glob("pages/*/*.jpg"))[::3], ids=lambda path: path.name)
def test_the_header_of_a_real_page_changes_nothing_of_the_input(path: str) -> None:
    page = Image.open(need_data(str(path)))
    whole = prepare(np.asarray(page), 384, 640).pixels
    ImageDraw.Draw(page).rectangle((40, 30, 2190, 270), fill=(250, 245, 245))
    np.testing.assert_array_equal(prepare(np.asarray(page), 384, 640).pixels, whole)
