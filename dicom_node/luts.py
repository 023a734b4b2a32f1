"""Stored values to what a viewer shows: modality LUT, VOI LUT or window, polarity, palette and colour (PS3.3 C.11)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut

from dicom_node.decoders import Stored
from dicom_node.pixel_header import GREY, PALETTE, PixelHeader

Values = NDArray[Any]
_TABLE_BITS = 16  # up to here the tone of every possible value is computed once, not pixel by pixel


def for_viewing(stored: Stored, header: PixelHeader, dataset: Dataset, frame: int) -> NDArray[np.uint8]:
    """One decoded frame as uint8 (rows, columns, 3), as a viewer would show it first."""
    if header.photometric == PALETTE:
        return _palette(stored.values, dataset)
    if header.photometric in GREY:
        grey = _grey(stored, header, _places(dataset, frame))
        if header.photometric == "MONOCHROME1":
            grey = 255 - grey
        return np.repeat(grey[..., None], 3, axis=-1)
    if stored.photometric in {"RGB", "YBR_ICT", "YBR_RCT"}:  # JPEG 2000 decoders undo ICT and RCT themselves
        return _eight_bits(stored.values, stored.bits)
    return _from_ybr(stored.values, stored.bits, partial=stored.photometric.startswith("YBR_PARTIAL"))


def _places(dataset: Dataset, frame: int) -> list[Dataset]:
    """Where a LUT may stand, the nearest first: this frame's groups, the shared ones, the object (PS3.3 C.7.6.16)."""
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    groups = [*per_frame[frame : frame + 1], *(dataset.get("SharedFunctionalGroupsSequence") or [])[:1]]
    inner = [
        item
        for group in groups
        for keyword in ("PixelValueTransformationSequence", "FrameVOILUTSequence")
        for item in (group.get(keyword) or [])[:1]
    ]
    return [*inner, dataset]


def _grey(stored: Stored, header: PixelHeader, places: Sequence[Dataset]) -> NDArray[np.uint8]:
    values = stored.values
    if values.dtype.itemsize * 8 > _TABLE_BITS:
        return _tone(values.astype(np.float64), _range(values, header, places), stored, header, places)
    # Signed containers index from their least value: adding the half of the range makes that 0
    least, most = np.iinfo(values.dtype).min, np.iinfo(values.dtype).max
    possible = np.arange(least, most + 1, dtype=np.float64)
    table = _tone(possible, _range(values, header, places), stored, header, places)
    return table[values.astype(np.int32) - least] if least else table[values]


def _range(values: Values, header: PixelHeader, places: Sequence[Dataset]) -> tuple[float, float]:
    """Least and greatest stored value that is not padding (PS3.3 C.7.5.1.1.2)."""
    padding = _first(places, "PixelPaddingValue")
    if padding is not None:
        ends = sorted((int(padding), int(_first(places, "PixelPaddingRangeLimit") or padding)))
        real = values[(values < ends[0]) | (values > ends[1])]
        values = real if real.size else values
    return float(values.min()), float(values.max())


def _tone(
    values: Values, seen: tuple[float, float], stored: Stored, header: PixelHeader, places: Sequence[Dataset]
) -> NDArray[np.uint8]:
    """Grey of stored values: modality transformation, then VOI, then 0 to 255."""
    ends = _modality(np.asarray(seen), header, places)
    modal = _modality(values, header, places)
    if voi := _item(places, "VOILUTSequence"):
        shown = _looked_up(modal, voi, header.signed)
    elif window := _window(places):
        shown = _windowed(modal, *window, str(_first(places, "VOILUTFunction") or "LINEAR").upper())
    elif stored.bits <= 8 and not header.signed and modal is values:
        shown = values / (2**stored.bits - 1)
    else:
        low, high = float(min(ends)), float(max(ends))
        shown = (modal - low) / max(high - low, 1e-9)
    return np.rint(np.clip(shown, 0.0, 1.0) * 255).astype(np.uint8)


def _modality(values: Values, header: PixelHeader, places: Sequence[Dataset]) -> Values:
    if lut := _item(places, "ModalityLUTSequence"):
        table, first, _ = _read_lut(lut, header.signed)
        return table[np.clip(values - first, 0, len(table) - 1).astype(np.intp)].astype(np.float64)
    slope, intercept = _first(places, "RescaleSlope"), _first(places, "RescaleIntercept")
    slope, intercept = float(1 if slope is None else slope), float(intercept or 0)
    return values if slope in (0.0, 1.0) and intercept == 0 else values * (slope or 1.0) + intercept


def _window(places: Sequence[Dataset]) -> tuple[float, float] | None:
    """Centre and width of the first window."""
    centre, width = _first(places, "WindowCenter"), _first(places, "WindowWidth")
    return None if centre is None or width is None or float(width) <= 0 else (float(centre), float(width))


def _windowed(values: Values, centre: float, width: float, function: str) -> Values:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3, 0 to 1."""
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -500, 500)))
    if function == "LINEAR_EXACT":
        return (values - centre) / width + 0.5
    if width <= 1:
        return (values > centre - 0.5).astype(np.float64)
    return (values - (centre - 0.5)) / (width - 1) + 0.5


def _looked_up(values: Values, item: Dataset, signed: bool) -> Values:
    table, first, bits = _read_lut(item, signed)
    return table[np.clip(values - first, 0, len(table) - 1).astype(np.intp)] / (2**bits - 1)


def _read_lut(item: Dataset, signed: bool) -> tuple[Values, int, int]:
    """A LUT's entries, the value that the first one stands for, and its bits (PS3.3 C.11.1.1)."""
    entries, first, bits = map(int, item.LUTDescriptor)
    entries = entries or 1 << 16
    first = first - (1 << 16) if signed and first >= 1 << 15 else first
    data = item.LUTData
    if isinstance(data, bytes):
        data = np.frombuffer(data, "<u2" if len(data) >= 2 * entries else np.uint8)
    table = np.asarray(data).ravel()[:entries]
    if not 8 <= bits <= 16 or len(table) < entries:
        raise ValueError("a LUT that is shorter than its descriptor says")
    return table.astype(np.int64), first, bits


def _item(places: Sequence[Dataset], keyword: str) -> Dataset | None:
    found = _first(places, keyword)
    return found[0] if found else None


def _first(places: Sequence[Dataset], keyword: str) -> Any:
    for place in places:
        value = place.get(keyword)
        if value is not None and value != "":
            several = isinstance(value, Sequence) and not isinstance(value, str) and not keyword.endswith("Sequence")
            return value[0] if several else value
    return None


def _palette(values: Values, dataset: Dataset) -> NDArray[np.uint8]:
    coloured = apply_color_lut(values, dataset)
    bits = 8 if coloured.dtype.itemsize == 1 or coloured.max() <= 255 else 16
    return _eight_bits(coloured, bits)


def _eight_bits(values: Values, bits: int) -> NDArray[np.uint8]:
    if bits > 8:
        values = values >> (bits - 8)
    elif bits < 8:
        values = values * (255 / (2**bits - 1))
    return np.ascontiguousarray(values.astype(np.uint8))


def _from_ybr(values: Values, bits: int, partial: bool) -> NDArray[np.uint8]:
    """RGB of full or partial range YCbCr (PS3.3 C.7.6.3.1.2)."""
    y, blue, red = (values[..., n] * np.float32(1 / 2 ** (bits - 8)) for n in range(3))
    blue, red = blue - 128, red - 128
    if partial:
        y, blue, red = (y - 16) * (255 / 219), blue * (255 / 224), red * (255 / 224)
    planes = (y + 1.402 * red, y - 0.344136 * blue - 0.714136 * red, y + 1.772 * blue)
    return np.clip(np.rint(np.stack(planes, axis=-1)), 0, 255).astype(np.uint8)
