"""Sheets and signals as other devices, scanners and hands would have made them."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from core.values import Signal

NOISE_MV = 0.015  # standard deviation of muscle noise at most
WANDER_MV = 0.12  # amplitude of baseline wander at most
WANDER_HZ = (0.1, 0.5)  # breathing and movement


def augment_sheet(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A scan or photograph of a sheet: turned, bent in perspective, shaded, blurred, tinted, compressed."""
    image = _perspective(Image.fromarray(rgb), rng)
    if rng.random() < 0.5:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.0, 0.9))))
    values = np.asarray(image).astype(np.float32)
    values = _shade(values, rng) * rng.uniform(0.85, 1.0, size=3).astype(np.float32)
    values = _stroke(values, rng) + rng.normal(0.0, rng.uniform(0, 5), values.shape).astype(np.float32)
    return _jpeg(np.clip(values, 0, 255).astype(np.uint8), int(rng.integers(45, 96)))


def augment(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The same for any picture of an ECG."""
    return augment_sheet(rgb, rng)


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
    """The same heart on another day: other amplitude, noise, baseline wander and begin, a slower or faster paper."""
    length = min(lead.size for lead in signal.leads.values())
    seconds = np.arange(length) / signal.sampling_rate_hz
    common = rng.uniform(0.8, 1.25)
    shift = int(rng.integers(0, max(1, int(0.8 * signal.sampling_rate_hz))))
    leads = {}
    for name, values in signal.leads.items():
        wander = rng.uniform(0, WANDER_MV) * np.sin(
            2 * np.pi * rng.uniform(*WANDER_HZ) * seconds + rng.uniform(0, 2 * np.pi)
        )
        noise = rng.normal(0.0, rng.uniform(0, NOISE_MV), length)
        varied = common * rng.uniform(0.93, 1.07) * values[:length] + wander + noise
        leads[name] = np.roll(varied, -shift).astype(np.float32)[: length - shift]
    return Signal(leads, signal.sampling_rate_hz * float(rng.uniform(0.94, 1.06)))
