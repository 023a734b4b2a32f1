"""Sheets and signals as other devices, scanners and hands would have made them."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy.signal import butter, sosfilt, sosfiltfilt

from core.values import Signal

NOISE_MV = 0.015  # standard deviation of muscle noise at most
WANDER_MV = 0.12  # amplitude of baseline wander at most
WANDER_HZ = (0.1, 0.5)  # breathing and movement
HIGH_PASS_HZ = (0.05, 0.67)  # diagnostic and monitoring bandwidth, AHA 2007
LOW_PASS_HZ = (30.0, 150.0)
SHOWN_S = 10.0  # of a sheet
# Peak to peak, mV: about what adults show; only their spread over records matters
CHEST_MV = {"V1": 1.2, "V2": 2.2, "V3": 2.1, "V4": 2.0, "V5": 1.7, "V6": 1.3}
LIMB_MV = 1.3  # of the largest limb lead


def augment_sheet(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A scan or photograph of a sheet: turned, bent in perspective, shaded, blurred, tinted, compressed."""
    return augment_ink(np.asarray(_perspective(Image.fromarray(rgb), rng)), rng)


def augment_ink(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The same without turning and bending, so that everything stays where it was drawn."""
    image = Image.fromarray(rgb)
    if rng.random() < 0.5:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.0, 0.9))))
    values = np.asarray(image).astype(np.float32)
    values = _shade(values, rng) * rng.uniform(0.85, 1.0, size=3).astype(np.float32)
    values = _stroke(values, rng) + rng.normal(0.0, rng.uniform(0, 5), values.shape).astype(np.float32)
    return _jpeg(np.clip(values, 0, 255).astype(np.uint8), int(rng.integers(45, 96)))


def _perspective(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Corners moved a little: rotation, tilt of the camera, and a stretch in time and amplitude."""
    width, height = image.size
    scale = rng.uniform(0.93, 1.07, size=2)
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    moved = (corners - [width / 2, height / 2]) * scale + [width / 2, height / 2]
    angle = np.deg2rad(rng.normal(0.0, 0.6))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (moved - [width / 2, height / 2]) @ turn + [width / 2, height / 2]
    moved += rng.normal(0.0, 0.004 * width, moved.shape)
    paper = tuple(int(value) for value in np.percentile(np.asarray(image).reshape(-1, 3), 90, axis=0))
    return image.transform(
        image.size,
        Image.Transform.PERSPECTIVE,
        _coefficients(moved, corners),
        Image.Resampling.BILINEAR,
        fillcolor=paper,
    )


def _coefficients(target: NDArray[np.float64], source: NDArray[np.float64]) -> list[float]:
    """Pillow's eight numbers that take a point of the new picture to its place in the old one."""
    rows = []
    for (x, y), (u, v) in zip(target, source, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    return [float(one) for one in np.linalg.solve(np.array(rows), source.ravel())]


def _shade(values: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Light that falls from one side."""
    height, width = values.shape[:2]
    across = np.linspace(0, 1, width, dtype=np.float32)[None, :, None]
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    slope = rng.uniform(-0.22, 0.22, size=2)
    return values * np.minimum(1.0, 1.0 + slope[0] * (across - 0.5) + slope[1] * (down - 0.5)).astype(np.float32)


def _stroke(values: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """A pen that is thicker or paler than the sheet's."""
    if rng.random() < 0.25:
        thick = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).filter(ImageFilter.MinFilter(3))
        values = np.asarray(thick).astype(np.float32)
    if rng.random() < 0.25:
        pale = np.float32(rng.uniform(0.55, 0.9))
        values = 255 - (255 - values) * pale
    return values


def _jpeg(rgb: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def augment_signal(signal: Signal, rng: np.random.Generator) -> Signal:
    """The same heart on another day and device: other amplitudes, filters, noise, begin and speed of the paper."""
    length = min(lead.size for lead in signal.leads.values())
    leads = {name: values[:length].astype(np.float64) for name, values in signal.leads.items()}
    rate = signal.sampling_rate_hz
    leads = _other_gains(leads, rng)
    leads = _other_filter(leads, rate, rng)
    first, stop = _window(length, rate, rng)
    seconds = np.arange(length) / rate
    varied = {
        name: (values * rng.uniform(0.93, 1.07) + _disturbance(seconds, rng))[first:stop].astype(np.float32)
        for name, values in leads.items()
    }
    return Signal(varied, rate * float(rng.uniform(0.94, 1.06)))


def _window(length: int, rate: float, rng: np.random.Generator) -> tuple[int, int]:
    """First and last sample of what is shown: anywhere in a long record, at most 0.8 s late in one of 10 s."""
    spare = max(int(0.8 * rate), length - int(SHOWN_S * rate))
    first = int(rng.integers(0, max(1, min(spare, length // 2))))
    return first, length


def _other_gains(leads: dict[str, NDArray[np.float64]], rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Amplitudes as another collection has them, so that they do not tell the source of a record.

    Some collections scale every lead to the same height. The limb leads keep their proportions, which a reader of such
    a collection can restore; the chest leads lose theirs.
    """
    way = rng.random()
    common = rng.uniform(0.8, 1.25)
    if way < 0.5:
        return {name: common * values for name, values in leads.items()}
    heights = {name: max(float(np.ptp(np.clip(values, *np.percentile(values, (0.2, 99.8))))), 0.05)
               for name, values in leads.items()}  # fmt: skip
    limb = max((height for name, height in heights.items() if name not in CHEST_MV), default=1.0)
    typical = way < 0.75
    scaled = {}
    for name, values in leads.items():
        if name in CHEST_MV:
            scaled[name] = values / heights[name] * (CHEST_MV[name] * rng.lognormal(0.0, 0.3) if typical else 1.0)
        else:
            scaled[name] = values / limb * (LIMB_MV if typical else 1.0)
    return {name: common * values for name, values in scaled.items()}


def _other_filter(
    leads: dict[str, NDArray[np.float64]], rate: float, rng: np.random.Generator
) -> dict[str, NDArray[np.float64]]:
    """What the filters of a cart leave: first order against drift, second order against muscle noise."""
    if rng.random() < 0.5:
        section = butter(1, float(rng.uniform(*HIGH_PASS_HZ)), "highpass", fs=rate, output="sos")
        leads = {name: sosfilt(section, values - values[0]) for name, values in leads.items()}
    if rng.random() < 0.5:
        edge = min(float(rng.uniform(*LOW_PASS_HZ)), 0.45 * rate)
        section = butter(2, edge, "lowpass", fs=rate, output="sos")
        leads = {name: sosfiltfilt(section, values) for name, values in leads.items()}
    return leads


def _disturbance(seconds: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Baseline wander and muscle noise of one lead, mV."""
    phase = 2 * np.pi * (rng.uniform(*WANDER_HZ) * seconds + rng.random())
    noise = rng.normal(0.0, rng.uniform(0, NOISE_MV), seconds.size)
    return np.asarray(rng.uniform(0, WANDER_MV) * np.sin(phase) + noise)
