"""The heat map as a picture: the ECG with its map, and a panel that says what it is."""

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from core.values import LABELS, NOTICE, Box, Judgement, LeadBox, ModelIdentity, Picture
from dicom_node.texts import (
    AI_RESULT,
    CANNOT_BE_JUDGED,
    COLOUR_BAR,
    COLUMNS,
    LABEL_TEXTS,
    MOST_INFLUENCE,
    ROWS,
    percent,
)

LONGEST_PX = 1600  # more costs a PACS megabytes an ECG and shows no more on a ward's screen
NARROWEST_PX = 800
STRENGTH = 0.5  # opacity of the hottest place; the trace stays readable under it
_NAMED_LEADS = 3
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"  # ISO/IEC 15948 5.2
_TRUE_COLOUR, _FILTER_UP = 2, 2  # ISO/IEC 15948 6.1, 9.2
_LINES = 8.6  # height of the panel
_WHITE, _GREY, _YELLOW, _BLUE = (255, 255, 255), (200, 200, 200), (255, 220, 120), (90, 160, 255)


def draw_heatmap(
    picture: Picture, judgement: Judgement, model: ModelIdentity, strength: float = STRENGTH
) -> Image.Image:
    """The ECG under its map, and below it what the result is; readable where it is shown 800 px wide."""
    return with_panel(overlay(picture, judgement, strength), judgement, model, where(judgement, picture.leads))


def overlay(picture: Picture, judgement: Judgement, strength: float = STRENGTH) -> Image.Image:
    """The picture with the map over its ECG area, 800 to 1600 px on its longest side."""
    image = _sized(picture.rgb)
    if judgement.heat is None:
        return image
    heat = spread(judgement.heat, judgement.area, (image.height, image.width))
    level = Image.fromarray(np.rint(255 * heat).astype(np.uint8))
    share = level.point([round(strength * value) for value in range(256)])
    level.putpalette(_palette())
    return Image.composite(level.convert("RGB"), image, share)


def _palette() -> bytes:
    """The colour of each of the 256 levels of a map."""
    return np.rint(255 * colours(np.linspace(0, 1, 256, dtype=np.float32))).astype(np.uint8).tobytes()


def _sized(rgb: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(rgb)
    longest = max(image.size)
    factor = min(1.0, LONGEST_PX / longest) if longest >= NARROWEST_PX else NARROWEST_PX / longest
    if factor == 1.0:
        return image
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.BOX if factor < 1 else Image.Resampling.BICUBIC)


def spread(heat: NDArray[np.float32], area: Box, shape: tuple[int, int]) -> NDArray[np.float32]:
    """The map over a whole picture (height, width): smooth inside the ECG area, 0 outside."""
    height, width = shape
    left, right = round(area.left * width), max(round(area.left * width) + 1, round(area.right * width))
    top, bottom = round(area.top * height), max(round(area.top * height) + 1, round(area.bottom * height))
    grown = Image.fromarray(heat.astype(np.float32)).resize((right - left, bottom - top), Image.Resampling.BICUBIC)
    whole = np.zeros(shape, np.float32)
    inside = np.clip(np.asarray(grown), 0.0, 1.0)[: height - top, : width - left]
    whole[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return whole


def colours(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """Blue over green and yellow to red, float (..., 3) in 0 to 1."""
    return np.stack([np.clip(1.5 - np.abs(4 * heat - middle), 0, 1) for middle in (3, 2, 1)], axis=-1)


def with_panel(image: Image.Image, judgement: Judgement, model: ModelIdentity, hottest: str = "") -> Image.Image:
    """The overlay with a panel below: label, probabilities, colour bar, hottest leads, model, and "not verified".

    The panel is 800 px wide at least, so that a portrait has one that can be read, too.
    """
    width = max(image.width, NARROWEST_PX)
    line = max(15, width // 52, image.height // 80)
    line = min(line, width // 46)  # the notice has to fit in
    whole = Image.new("RGB", (width, image.height + round(_LINES * line)), (0, 0, 0))
    whole.paste(image, ((width - image.width) // 2, 0))
    draw = ImageDraw.Draw(whole)
    y = image.height + line // 2
    said = LABEL_TEXTS[judgement.label] if judgement.label else CANNOT_BE_JUDGED
    draw.text((line, y), f"{AI_RESULT}: {said}", fill=_WHITE, font=ImageFont.load_default(round(1.5 * line)))
    _probabilities(draw, judgement, (line, y + round(2.1 * line)), line, width)
    right = round(0.56 * width)
    _colour_bar(whole, draw, (right, y + round(0.3 * line)), line, round(0.41 * width))
    identity = f"{model.name} {model.version}"
    lines = [hottest, _cut(draw, identity, line, width - right), f"sha256 {model.weights_sha256[:16]}"]
    for row, text in enumerate(one for one in lines if one):
        draw.text((right, y + round((2.9 + 1.25 * row) * line)), text, fill=_GREY, font=ImageFont.load_default(line))
    draw.text((line, y + round(6.7 * line)), NOTICE, fill=_YELLOW, font=ImageFont.load_default(line))
    return whole


def _cut(draw: ImageDraw.ImageDraw, text: str, line: int, width: int) -> str:
    """As much of a text as fits in."""
    font = ImageFont.load_default(line)
    while len(text) > 1 and draw.textlength(text, font=font) > width - line:
        text = text[:-1]
    return text


def _probabilities(draw: ImageDraw.ImageDraw, judgement: Judgement, at: tuple[int, int], line: int, width: int) -> None:
    font = ImageFont.load_default(line)
    bar = round(0.17 * width)
    for row, (label, share) in enumerate(zip(LABELS, judgement.probabilities or (), strict=False)):
        x, y = at[0], at[1] + round(1.4 * row * line)
        chosen = label == judgement.label
        draw.text((x, y), f"{LABEL_TEXTS[label]}: {percent(share)}", fill=_WHITE if chosen else _GREY, font=font)
        x = round(0.35 * width)
        draw.rectangle([x, y + 2, x + bar, y + line], outline=(120, 120, 120))
        draw.rectangle([x, y + 2, x + round(bar * share), y + line], fill=_BLUE)


def _colour_bar(panel: Image.Image, draw: ImageDraw.ImageDraw, at: tuple[int, int], line: int, width: int) -> None:
    ramp = (255 * colours(np.linspace(0, 1, width, dtype=np.float32))).astype(np.uint8)
    panel.paste(Image.fromarray(np.repeat(ramp[None], line, axis=0)), at)
    font = ImageFont.load_default(line)
    low, middle, high = COLOUR_BAR
    y = at[1] + round(1.1 * line)
    draw.text((at[0], y), low, fill=_GREY, font=font)
    draw.text((at[0] + width // 2, y), middle, fill=_GREY, font=font, anchor="ma")
    draw.text((at[0] + width, y), high, fill=_GREY, font=font, anchor="ra")


def where(judgement: Judgement, leads: tuple[LeadBox, ...]) -> str:
    """In words where the map is hottest: by lead where the layout is known, else by region."""
    if judgement.heat is None:
        return ""
    shape = (120, 160)
    heat = spread(judgement.heat, judgement.area, shape)
    if leads:
        warmth = sorted(((_mean(heat, one.box), one.lead) for one in leads), reverse=True)
        names = list(dict.fromkeys(name for _warm, name in warmth))[:_NAMED_LEADS]
        return f"{MOST_INFLUENCE}: leads {', '.join(names)}"
    row, column = np.unravel_index(int(heat.argmax()), shape)
    vertical, horizontal = ROWS[min(2, int(3 * row / shape[0]))], COLUMNS[min(2, int(3 * column / shape[1]))]
    return f"{MOST_INFLUENCE}: {vertical} {horizontal}"


def _mean(heat: NDArray[np.float32], box: Box) -> float:
    height, width = heat.shape
    rows = slice(int(box.top * height), max(int(box.top * height) + 1, int(box.bottom * height)))
    columns = slice(int(box.left * width), max(int(box.left * width) + 1, int(box.right * width)))
    return float(heat[rows, columns].mean())


def picture_png(rgb: NDArray[np.uint8]) -> bytes:
    """The judged picture, unchanged.

    Each row stands as its difference from the row above (filter "up"), as paper wants it: Pillow tries five filters a
    row, which takes twice as long and makes larger files of scans.
    """
    height, width, _channels = rgb.shape
    lines = np.ascontiguousarray(rgb).reshape(height, width * 3)
    filtered = np.empty((height, 1 + width * 3), np.uint8)
    filtered[:, 0] = _FILTER_UP
    filtered[0, 1:] = lines[0]
    np.subtract(lines[1:], lines[:-1], out=filtered[1:, 1:])
    head = struct.pack(">LLBBBBB", width, height, 8, _TRUE_COLOUR, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(filtered, 1)), (b"IEND", b""))
    return _PNG_SIGNATURE + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    """A length, a name, data and their check sum. ISO/IEC 15948 5.3."""
    return struct.pack(">L", len(data)) + name + data + struct.pack(">L", zlib.crc32(data, zlib.crc32(name)))


def thumbnail_png(rgb: NDArray[np.uint8], width: int = 320) -> bytes:
    """A small picture for lists."""
    image = Image.fromarray(rgb)
    height = max(1, round(image.height * width / image.width))
    return _png(image.resize((width, height), Image.Resampling.BOX, reducing_gap=2.0))


def heat_png(heat: NDArray[np.float32]) -> bytes:
    """The bare map, 8 bit grey, 0 to 255."""
    return _png(Image.fromarray(np.rint(255 * np.clip(heat, 0, 1)).astype(np.uint8)))


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    # Level 1: a quarter of the time for a tenth more bytes
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()
