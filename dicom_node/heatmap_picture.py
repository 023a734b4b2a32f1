"""The heat map as a picture: the ECG with its map, and a panel that says what it is."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from core.values import LABELS, NOTICE, Box, Judgement, LeadBox, ModelIdentity, Picture
from dicom_node.texts import COLOUR_BAR, LABEL_TEXTS, percent

LONGEST_PX = 1600  # more costs a PACS megabytes an ECG and shows no more on a ward's screen
NARROWEST_PX = 800
OPACITY = 0.5  # of the hottest place; the trace stays readable under it
_NAMED_LEADS = 3


def overlay(picture: Picture, judgement: Judgement, opacity: float = OPACITY) -> Image.Image:
    """The picture with the map over its ECG area, 800 to 1600 px on its longest side."""
    image = _sized(picture.rgb)
    if judgement.heat is None:
        return image
    values = np.asarray(image).astype(np.float32)
    heat = spread(judgement.heat, judgement.area, (image.height, image.width))
    share = (opacity * heat)[..., None]
    return Image.fromarray((values * (1 - share) + 255 * colours(heat) * share).astype(np.uint8))


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


def with_panel(image: Image.Image, judgement: Judgement, model: ModelIdentity) -> Image.Image:
    """The overlay with a panel below: label, probabilities, colour bar, model, and that nobody verified it."""
    line = max(14, image.width // 55)
    panel = Image.new("RGB", (image.width, image.height + 8 * line), (0, 0, 0))
    panel.paste(image, (0, 0))
    draw = ImageDraw.Draw(panel)
    y = image.height + line // 2
    said = LABEL_TEXTS[judgement.label] if judgement.label else "cannot be judged"
    draw.text((line, y), f"AI result: {said}", fill=(255, 255, 255), font=ImageFont.load_default(round(1.4 * line)))
    _probabilities(draw, judgement, (line, y + 2 * line), line, image.width)
    _colour_bar(panel, draw, (round(0.58 * image.width), y + round(0.3 * line)), line, round(0.38 * image.width))
    font = ImageFont.load_default(line)
    identity = f"{model.name} {model.version}, sha256 {model.weights_sha256[:12]}"
    draw.text((round(0.58 * image.width), y + round(3.2 * line)), identity[:70], fill=(190, 190, 190), font=font)
    draw.text((line, y + round(6.0 * line)), NOTICE, fill=(255, 220, 120), font=font)
    return panel


def _probabilities(draw: ImageDraw.ImageDraw, judgement: Judgement, at: tuple[int, int], line: int, width: int) -> None:
    font = ImageFont.load_default(line)
    bar = round(0.18 * width)
    for row, (label, share) in enumerate(zip(LABELS, judgement.probabilities or (), strict=False)):
        x, y = at[0], at[1] + round(1.25 * row * line)
        draw.text((x, y), f"{LABEL_TEXTS[label]}: {percent(share)}", fill=(255, 255, 255), font=font)
        x = round(0.34 * width)
        draw.rectangle([x, y + 2, x + bar, y + line], outline=(120, 120, 120))
        draw.rectangle([x, y + 2, x + round(bar * share), y + line], fill=(90, 160, 255))


def _colour_bar(panel: Image.Image, draw: ImageDraw.ImageDraw, at: tuple[int, int], line: int, width: int) -> None:
    ramp = (255 * colours(np.linspace(0, 1, width, dtype=np.float32))).astype(np.uint8)
    panel.paste(Image.fromarray(np.repeat(ramp[None], line, axis=0)), at)
    font = ImageFont.load_default(round(0.9 * line))
    low, middle, high = COLOUR_BAR
    y = at[1] + round(1.2 * line)
    draw.text((at[0], y), low, fill=(190, 190, 190), font=font)
    draw.text((at[0] + width // 2, y), middle, fill=(190, 190, 190), font=font, anchor="ma")
    draw.text((at[0] + width, y), high, fill=(190, 190, 190), font=font, anchor="ra")


def where(judgement: Judgement, leads: tuple[LeadBox, ...]) -> str:
    """In words where the map is hottest: by lead where the layout is known, else by region."""
    if judgement.heat is None:
        return ""
    shape = (120, 160)
    heat = spread(judgement.heat, judgement.area, shape)
    if leads:
        warmth = sorted(((_mean(heat, one.box), one.lead) for one in leads), reverse=True)
        names = list(dict.fromkeys(name for _warm, name in warmth))[:_NAMED_LEADS]
        return f"most influence: leads {', '.join(names)}"
    row, column = np.unravel_index(int(heat.argmax()), shape)
    vertical = ("upper", "middle", "lower")[min(2, int(3 * row / shape[0]))]
    horizontal = ("left", "centre", "right")[min(2, int(3 * column / shape[1]))]
    return f"most influence: {vertical} {horizontal} of the ECG"


def _mean(heat: NDArray[np.float32], box: Box) -> float:
    height, width = heat.shape
    rows = slice(int(box.top * height), max(int(box.top * height) + 1, int(box.bottom * height)))
    columns = slice(int(box.left * width), max(int(box.left * width) + 1, int(box.right * width)))
    return float(heat[rows, columns].mean())


def picture_png(rgb: NDArray[np.uint8]) -> bytes:
    """The judged picture, unchanged."""
    return _png(Image.fromarray(rgb))


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
