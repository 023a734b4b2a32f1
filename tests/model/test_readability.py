"""The readability gate refuses what is no 12-lead sheet, by name, and lets sheets of every layout through."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from core.states import Reason
from core.values import Signal
from model.preprocessing import prepare
from model.readability import INK, crossings, judge_readability, without_frame
from model.rendering import STANDARD_SHEET, draw_sheet, random_style
from model.synthetic import synthetic_signal


def judged(rgb: NDArray[np.uint8]) -> tuple[float, Reason | None]:
    return judge_readability(prepare(rgb, 384, 640))


def test_white_paper_is_blank() -> None:
    assert judged(np.full((700, 1000, 3), 255, np.uint8)) == (0.0, Reason.BLANK)


def test_ruled_paper_without_a_trace_is_blank() -> None:
    paper = np.full((700, 1000, 3), 255, np.uint8)
    paper[::20] = paper[:, ::20] = (255, 180, 180)
    assert judged(paper)[1] is Reason.BLANK


def test_noise_is_no_ecg() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (700, 1000, 3)).astype(np.uint8)
    assert judged(noise)[1] is Reason.NOT_AN_ECG


def test_one_row_of_a_sheet_has_too_few_leads() -> None:
    sheet = draw_sheet(synthetic_signal()).rgb
    assert judged(sheet[: sheet.shape[0] // 4])[1] is Reason.TOO_FEW_LEADS


@pytest.mark.parametrize("size", [17, 25, 32, 44])
def test_a_page_of_print_is_no_ecg(size: int) -> None:
    page = Image.new("RGB", (1546, 2000), "white")
    font, draw = ImageFont.load_default(size), ImageDraw.Draw(page)
    words = ("lorem ipsum dolor sit amet nam deleniti adipisci ne sed diceret " * 4)[: int(3100 / size)]
    for line in range(int(1800 / (1.4 * size))):
        if line % 7:
            draw.text((100, 100 + 1.4 * size * line), words[line % 11 :], fill=(30, 30, 30), font=font)
    assert judged(np.asarray(page))[1] is Reason.NOT_AN_ECG


@pytest.mark.parametrize("rate", [30, 75, 120, 140, 160, 180])
def test_a_sheet_of_any_heart_rate_is_readable(rate: int) -> None:
    style = replace(STANDARD_SHEET, layout="6x2", gain_mm_per_mv=20.0, row_mm=17.5, line_px=3, grid=False)
    assert judged(draw_sheet(synthetic_signal(rate, seed=50), style).rgb)[1] is None


@pytest.mark.parametrize("row_mm", [26.0, 40.0, 56.0])
@pytest.mark.parametrize("px_per_mm", [4.0, 6.0])
def test_three_rows_of_a_thin_pen_are_readable_however_far_apart(row_mm: float, px_per_mm: float) -> None:
    style = replace(STANDARD_SHEET, rhythm=(), row_mm=row_mm, line_px=1, px_per_mm=px_per_mm)
    for seed in range(3):
        assert judged(draw_sheet(synthetic_signal(60 + 20 * seed, seed=seed), style).rgb)[1] is None


@pytest.mark.parametrize("leads", [("II",), ("II", "V2")])
def test_leads_in_a_frame_are_not_counted_with_its_lines(leads: tuple[str, ...]) -> None:
    signal = synthetic_signal(80)
    height = 300
    picture = Image.new("RGB", (1000, 60 + (height + 30) * len(leads)), "white")
    draw = ImageDraw.Draw(picture)
    for number, lead in enumerate(leads):
        top = 30 + (height + 30) * number
        draw.rectangle((40, top, 960, top + height), outline="black")
        values = signal.leads[lead]
        y = top + height * (0.9 - 0.8 * (values - values.min()) / np.ptp(values))
        draw.line(list(zip(np.linspace(70, 930, y.size), y, strict=True)), fill="black")
    assert judged(np.asarray(picture))[1] is Reason.TOO_FEW_LEADS


def test_traces_of_low_voltage_are_no_frame() -> None:
    signal = synthetic_signal(70)
    low = Signal({name: 0.12 * values for name, values in signal.leads.items()}, signal.sampling_rate_hz)
    ink = prepare(draw_sheet(low).rgb, 384, 640).ink > INK
    assert crossings(without_frame(ink)) == crossings(ink) == 4


@pytest.mark.parametrize("seed", range(6))
def test_a_sheet_of_any_layout_is_readable(seed: int) -> None:
    style = random_style(np.random.default_rng(seed))
    score, reason = judged(draw_sheet(synthetic_signal(60 + 10 * seed, seed=seed), style).rgb)
    assert reason is None
    assert score >= 0.5


@pytest.mark.parametrize("seed", range(4))
def test_the_lines_of_a_chart_are_no_ecg(seed: int) -> None:
    """Three random walks: as many traces as a sheet has rows, without one QRS complex."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(10, 7), dpi=100)
    figure.subplots().plot(np.cumsum(np.random.default_rng(seed).normal(size=(100, 3)), axis=0))
    figure.canvas.draw()
    page = np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()  # type: ignore[attr-defined]
    pyplot.close(figure)
    assert judged(page)[1] in (Reason.NOT_AN_ECG, Reason.TOO_FEW_LEADS)
