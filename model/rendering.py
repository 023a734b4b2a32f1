"""A 12-lead signal drawn as paper ECG: what the service shows the network of a waveform, and what training draws.

Amplitudes and times are true: `gain_mm_per_mv` and `speed_mm_per_s` on a grid of millimetres (IEC 60601-2-25 7.).
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from core.values import Box, LeadBox, Picture, Signal

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
Layout = Literal["3x4", "6x2", "12x1"]
_COLUMNS: dict[Layout, tuple[tuple[str, ...], ...]] = {
    "3x4": (("I", "II", "III"), ("aVR", "aVL", "aVF"), ("V1", "V2", "V3"), ("V4", "V5", "V6")),
    "6x2": (("I", "II", "III", "aVR", "aVL", "aVF"), ("V1", "V2", "V3", "V4", "V5", "V6")),
    "12x1": (LEADS,),
}
CALIBRATION_S = 0.2  # width of the calibration pulse
CALIBRATION_MV = 1.0
SEPARATOR_MM = 3.0  # length of the stroke between two leads of a row
WIDE_ROWS_SHARE = 0.35  # of random styles


@dataclass(frozen=True, slots=True)
class SheetStyle:
    """How a sheet looks; lengths in millimetres of paper unless they say px."""

    layout: Layout = "3x4"
    rhythm: tuple[str, ...] = ("II",)
    speed_mm_per_s: float = 25.0
    gain_mm_per_mv: float = 10.0
    px_per_mm: float = 5.0
    seconds: float = 10.0
    row_mm: float = 26.0
    margin_mm: float = 8.0
    line_px: int = 2
    names: bool = True
    calibration: bool = True
    separators: bool = False
    grid: bool = True
    paper: tuple[int, int, int] = (255, 252, 250)
    fine: tuple[int, int, int] = (255, 226, 226)
    bold: tuple[int, int, int] = (250, 176, 176)
    ink: tuple[int, int, int] = (20, 20, 30)
    header: tuple[str, ...] = ()
    start_s: float = 0.0


STANDARD_SHEET = SheetStyle()
STYLES_VERSION = 2  # of `random_style`: pictures of another version are other pictures


def draw_sheet(signal: Signal, style: SheetStyle = STANDARD_SHEET) -> Picture:
    """Draw a signal on ruled paper; leads that are missing leave their place empty. Lead boxes are exact."""
    drawing = _Drawing(signal, style)
    drawing.rule()
    drawing.head()
    columns = _COLUMNS[style.layout]
    share = style.seconds / len(columns)
    for column, leads in enumerate(columns):
        for row, lead in enumerate(leads):
            drawing.lead(lead, row, column * share, share)
    for number, lead in enumerate(style.rhythm):
        drawing.lead(lead, len(columns[0]) + number, 0.0, style.seconds)
    return Picture(drawing.pixels(), leads=tuple(drawing.boxes))


def draw_standard_sheet(signal: Signal) -> Picture:
    """The standard sheet, with as much paper around it as the tallest waves of its outer rows need."""
    style = STANDARD_SHEET
    return draw_sheet(signal, replace(style, margin_mm=max(style.margin_mm, _room_mm(signal, style))))


def _room_mm(signal: Signal, style: SheetStyle) -> float:
    """How far waves reach over the outermost rows, in mm of paper."""
    columns, rate = _COLUMNS[style.layout], signal.sampling_rate_hz
    share, last = style.seconds / len(columns), len(columns[0]) + len(style.rhythm) - 1
    strips = [(row, n * share, share, lead) for n, leads in enumerate(columns) for row, lead in enumerate(leads)]
    strips += [(len(columns[0]) + n, 0.0, style.seconds, lead) for n, lead in enumerate(style.rhythm)]
    room = 0.0
    for row, begin_s, seconds, lead in strips:
        values = signal.leads.get(lead, np.zeros(0, np.float32))
        part = np.nan_to_num(values[round(begin_s * rate) : round((begin_s + seconds) * rate)]) * style.gain_mm_per_mv
        above, below = (row + 0.5) * style.row_mm, (last - row + 0.5) * style.row_mm
        room = max(room, part.max(initial=0.0) - above, -part.min(initial=0.0) - below)
    return float(room) + 1.0 if room else 0.0


class _Drawing:
    def __init__(self, signal: Signal, style: SheetStyle) -> None:
        self._signal = signal
        self._style = style
        rows = len(_COLUMNS[style.layout][0]) + len(style.rhythm)
        self._left = style.margin_mm + (CALIBRATION_S * style.speed_mm_per_s + 3.0 if style.calibration else 0.0)
        self._top = style.margin_mm + 5.0 * len(style.header)
        width = self._left + style.seconds * style.speed_mm_per_s + style.margin_mm
        height = self._top + rows * style.row_mm + style.margin_mm
        self._size = (round(width * style.px_per_mm), round(height * style.px_per_mm))
        self._image = Image.new("RGB", self._size, style.paper)
        self._draw = ImageDraw.Draw(self._image)
        self._font = ImageFont.load_default(max(9, round(3.2 * style.px_per_mm)))
        self.boxes: list[LeadBox] = []

    def pixels(self) -> NDArray[np.uint8]:
        return np.asarray(self._image)

    def rule(self) -> None:
        if not self._style.grid:
            return
        width, height = self._size
        for step, colour in ((1, self._style.fine), (5, self._style.bold)):
            for x in range(0, int(width / self._style.px_per_mm) + 1, step):
                at = round(x * self._style.px_per_mm)
                self._draw.line([(at, 0), (at, height)], fill=colour)
            for y in range(0, int(height / self._style.px_per_mm) + 1, step):
                at = round(y * self._style.px_per_mm)
                self._draw.line([(0, at), (width, at)], fill=colour)

    def head(self) -> None:
        for number, text in enumerate(self._style.header):
            at = (self._style.margin_mm, 2.0 + 5.0 * number)
            self._draw.text(self._px(*at), text, fill=self._style.ink, font=self._font)

    def lead(self, lead: str, row: int, begin_s: float, seconds: float) -> None:
        style = self._style
        left = self._left + begin_s * style.speed_mm_per_s
        middle = self._top + (row + 0.5) * style.row_mm
        if begin_s == 0.0 and style.calibration:
            self._calibrate(middle)
        values = self._signal.leads.get(lead)
        if values is None:
            return
        rate = self._signal.sampling_rate_hz
        first = round((style.start_s + begin_s) * rate)
        part = np.asarray(values[first : first + round(seconds * rate)], np.float64)
        if part.size > 1:
            self._trace(part, left, middle, rate)
            self._name(lead, left, middle)
            if style.separators and begin_s:
                self._separate(left, middle)
            width = part.size / rate * style.speed_mm_per_s
            self.boxes.append(LeadBox(lead, self._box(left, middle, width)))

    def _trace(self, values: NDArray[np.float64], left: float, middle: float, rate: float) -> None:
        style = self._style
        x = (left + np.arange(values.size) / rate * style.speed_mm_per_s) * style.px_per_mm
        y = (middle - np.nan_to_num(values) * style.gain_mm_per_mv) * style.px_per_mm
        x, y = _thinned(x, y)
        points = np.stack([x, y], axis=1).ravel().tolist()
        self._draw.line(points, fill=style.ink, width=style.line_px, joint=None)

    def _calibrate(self, middle: float) -> None:
        style = self._style
        height, width = CALIBRATION_MV * style.gain_mm_per_mv, CALIBRATION_S * style.speed_mm_per_s
        left = self._left - width - 2.0
        corners = [(0.0, 0.0), (0.2, 0.0), (0.2, height), (0.8, height), (0.8, 0.0), (1.0, 0.0)]
        points = [self._px(left + part * width, middle - up) for part, up in corners]
        self._draw.line(points, fill=style.ink, width=style.line_px)

    def _separate(self, left: float, middle: float) -> None:
        top = middle - 0.4 * self._style.row_mm  # beside the name
        ends = [self._px(left, top), self._px(left, top + SEPARATOR_MM)]
        self._draw.line(ends, fill=self._style.ink, width=self._style.line_px)

    def _name(self, lead: str, left: float, middle: float) -> None:
        if self._style.names:
            at = self._px(left + 1.0, middle - min(9.0, 0.42 * self._style.row_mm))
            self._draw.text(at, lead, fill=self._style.ink, font=self._font)

    def _box(self, left: float, middle: float, width: float) -> Box:
        half = self._style.row_mm / 2
        w, h = (side / self._style.px_per_mm for side in self._size)
        return Box(left / w, (middle - half) / h, (left + width) / w, (middle + half) / h)

    def _px(self, x_mm: float, y_mm: float) -> tuple[float, float]:
        return x_mm * self._style.px_per_mm, y_mm * self._style.px_per_mm


def _thinned(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fewer points without losing a peak: each pixel column keeps its lowest and highest value, in order of time."""
    columns = np.floor(x).astype(np.int64)
    if x.size < 4 * (columns[-1] - columns[0] + 1):
        return x, y
    starts = np.flatnonzero(np.diff(columns, prepend=columns[0] - 1))
    low = np.minimum.reduceat(y, starts)
    high = np.maximum.reduceat(y, starts)
    at = x[starts]
    return np.repeat(at, 2), np.stack([high, low], axis=1).ravel()


def random_style(rng: np.random.Generator) -> SheetStyle:
    """A layout, paper and pen as some device might have them."""
    layout: Layout = rng.choice(["3x4", "3x4", "3x4", "3x4", "6x2", "12x1"])  # type: ignore[assignment]
    rows = {"3x4": 3, "6x2": 6, "12x1": 12}[layout]
    rhythm = tuple(rng.choice(["II", "V1", "V5", "III"], size=int(rng.choice([0, 1, 1, 1, 3])), replace=False))
    tint = rng.integers(0, 3)
    fine, bold = _rules(tint, rng)
    return replace(
        STANDARD_SHEET,
        layout=layout,
        rhythm=tuple(str(lead) for lead in rhythm) if layout != "12x1" else (),
        speed_mm_per_s=float(rng.choice([25.0, 25.0, 25.0, 25.0, 50.0])),
        gain_mm_per_mv=float(rng.choice([10.0, 10.0, 10.0, 10.0, 5.0, 20.0])),
        px_per_mm=float(rng.uniform(3.6, 6.5)),
        row_mm=_any_row_mm(rows, rng),
        margin_mm=float(rng.uniform(2, 14)),
        line_px=int(rng.integers(1, 4)),
        names=bool(rng.random() < 0.85),
        calibration=bool(rng.random() < 0.6),
        separators=bool(rng.random() < 0.3),
        grid=bool(rng.random() < 0.9),
        fine=fine,
        bold=bold,
        header=("ID 000000  25 mm/s 10 mm/mV",) * int(rng.integers(0, 3)),
    )


def _any_row_mm(rows: int, rng: np.random.Generator) -> float:
    """Programs that lay out for a page set rows much farther apart than carts do."""
    if rng.random() < WIDE_ROWS_SHARE:
        return float(rng.uniform(34, 58) if rows == 3 else rng.uniform(20, 30))
    return float(rng.uniform(20, 34) if rows == 3 else rng.uniform(13, 20))


def _rules(tint: int, rng: np.random.Generator) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    light, dark = int(rng.integers(215, 242)), int(rng.integers(160, 205))
    if tint == 0:
        return (255, light, light), (250, dark, dark)
    if tint == 1:
        return (light, light, light), (dark, dark, dark)
    return (light, 250, light), (dark, 240, dark)
