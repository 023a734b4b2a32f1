"""Made-up Secondary Capture objects of every pixel format, and the tools that encode and decode them."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import pixel_array
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from tests.conftest import need_tool

HEIGHT, WIDTH = 61, 94
_SINGLE = "1.2.840.10008.5.1.4.1.1.7"
_MULTI = {1: "1.2.840.10008.5.1.4.1.1.7.2", 3: "1.2.840.10008.5.1.4.1.1.7.4"}


@dataclass(frozen=True)
class Format:
    """One pixel format that ECG pictures may come in."""

    name: str
    photometric: str
    allocated: int
    stored: int
    signed: bool = False
    frames: int = 1
    planar: int = 0

    @property
    def samples(self) -> int:
        return 1 if self.photometric.startswith(("MONO", "PAL")) else 3


def ecg_like(format_: Format) -> NDArray[np.int64]:
    """Grid, trace, gradient and noise over all values of the format: (frames, rows, columns, samples)."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    full = (1 << format_.stored) - 1
    planes = []
    for n in range(format_.frames * format_.samples):
        plane = x * full / (WIDTH - 1) + y * 3 + n * 5
        plane = np.where((x + n) % 8 == 0, full, plane)
        plane = np.where(abs(y - 30 - 20 * np.sin(x / 9 + n)) < 1.5, 0, plane)
        plane += rng.normal(0, full / 60, plane.shape) * (y > 40)
        planes.append(np.clip(plane, 0, full).astype(np.int64))
    values = np.stack(planes).reshape(format_.frames, format_.samples, HEIGHT, WIDTH).transpose(0, 2, 3, 1)
    return values - (1 << (format_.stored - 1)) if format_.signed else values


def build_image(format_: Format, values: NDArray[Any]) -> Dataset:
    """An uncompressed object that holds `values`, (frames, rows, columns, samples)."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = _SINGLE if format_.frames == 1 else _MULTI[format_.samples]
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.PatientID, dataset.PatientName, dataset.Modality, dataset.ConversionType = "T1", "Test^Ecg", "OT", "WSD"
    frames, dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = values.shape
    dataset.PhotometricInterpretation = format_.photometric
    if frames > 1:
        dataset.NumberOfFrames = frames
    if format_.samples > 1:
        dataset.PlanarConfiguration = format_.planar
    dataset.BitsAllocated, dataset.BitsStored = format_.allocated, format_.stored
    dataset.HighBit, dataset.PixelRepresentation = format_.stored - 1, int(format_.signed)
    if format_.photometric == "PALETTE COLOR":
        add_palette(dataset, 1 << format_.stored)
    put_pixels(dataset, values.transpose(0, 3, 1, 2) if format_.planar else values)
    return dataset


def photograph(rgb: NDArray[Any]) -> Dataset:
    """A true colour object of one picture, (rows, columns, 3)."""
    return build_image(Format("rgb", "RGB", 8, 8), np.ascontiguousarray(rgb)[None])


def put_pixels(dataset: Dataset, stored: NDArray[Any]) -> None:
    """Native pixel data out of stored values, in the order given."""
    allocated = dataset.BitsAllocated
    words = np.asarray(stored) & ((1 << allocated) - 1)
    data = words.astype("u1" if allocated == 8 else f"<u{allocated // 8}").tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB" if allocated <= 8 else "OW"


def add_palette(dataset: Dataset, entries: int) -> None:
    """Three different 16-bit ramps."""
    for step, colour in enumerate(("Red", "Green", "Blue"), start=1):
        ramp = (np.arange(entries) * (65535 // (entries - 1)) * step) % 65536
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [entries if entries < 65536 else 0, 0, 16])
        setattr(dataset, f"{colour}PaletteColorLookupTableData", ramp.astype("<u2").tobytes())


def save(dataset: Dataset, path: Path) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path


def convert(source: Path, target: Path, tool: str, *options: str) -> bool:
    """Run a DCMTK or GDCM converter; whether it made the file."""
    program = need_tool(tool)
    files = ["-i", source, "-o", target] if tool == "gdcmconv" else [source, target]
    done = subprocess.run([program, *options, *map(str, files)], capture_output=True, timeout=60, check=False)
    return done.returncode == 0 and target.exists()


def stored_values(path: Path) -> NDArray[np.int64]:
    """What an uncompressed file holds, read by pydicom: (frames, rows, columns, samples)."""
    dataset = pydicom.dcmread(path)
    values = pixel_array(dataset, raw=True).astype(np.int64)
    frames = int(dataset.get("NumberOfFrames", 1))
    return values.reshape(frames, dataset.Rows, dataset.Columns, dataset.SamplesPerPixel)
