"""Encapsulated PDFs: each page as it would be printed, or a reason."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from core.errors import NotDiagnostic
from core.states import Reason
from dicom_node.ecg_object import EcgObject, Kind, Limits
from dicom_node.image import read_ecg
from tests.conftest import need_data, need_tool
from tests.intake.pdf_objects import build_pdf, encapsulate_pdf


def _read(dataset: Dataset, folder: Path, limits: Limits | None = None) -> EcgObject:
    path = folder / "document.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return read_ecg(path, limits or Limits())


def _refusal(document: bytes, folder: Path, mime_type: str = "application/pdf") -> Reason:
    with pytest.raises(NotDiagnostic) as refused:
        _read(encapsulate_pdf(document, mime_type), folder)
    return refused.value.reason


def _dark_box(rgb: np.ndarray) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of what is black, in fractions."""
    rows, columns = np.nonzero(rgb.min(axis=-1) < 128)
    height, width = rgb.shape[:2]
    return columns.min() / width, rows.min() / height, (columns.max() + 1) / width, (rows.max() + 1) / height


def test_a_vector_page_is_drawn_where_it_says(tmp_path: Path) -> None:
    found = _read(encapsulate_pdf(build_pdf()), tmp_path)
    (page,) = found.pictures
    assert (found.kind, page.frame, max(page.rgb.shape)) == (Kind.PDF, None, 2000)
    assert _dark_box(page.rgb) == pytest.approx((10 / 300, 170 / 200, 60 / 300, 190 / 200), abs=2e-3)
    assert tuple(page.rgb[5, 5]) == (255, 255, 255)


def test_red_is_red(tmp_path: Path) -> None:
    (page,) = _read(encapsulate_pdf(build_pdf(["1 0 0 rg 0 0 300 200 re f"])), tmp_path).pictures
    assert tuple(page.rgb[500, 500]) == (255, 0, 0)


def test_each_page_is_a_picture_with_its_number(tmp_path: Path) -> None:
    document = build_pdf([f"{10 + 30 * n} 10 20 20 re f" for n in range(5)])
    found = _read(encapsulate_pdf(document), tmp_path, Limits(max_frames=3))
    assert ([page.frame for page in found.pictures], found.left_out) == ([1, 2, 3], 2)
    lefts = [_dark_box(page.rgb)[0] for page in found.pictures]
    assert lefts == pytest.approx([10 / 300, 40 / 300, 70 / 300], abs=2e-3)


def test_a_real_ecg_looks_as_another_renderer_shows_it(tmp_path: Path) -> None:
    document = need_data("dicom/anonymous_ecg_3x4_1.pdf")
    (page,) = _read(encapsulate_pdf(document.read_bytes()), tmp_path).pictures
    command = [need_tool("pdftoppm"), "-scale-to", "2000", "-singlefile", str(document), str(tmp_path / "page")]
    subprocess.run(command, check=True, timeout=60)
    other = np.asarray(Image.open(tmp_path / "page.ppm").convert("L").resize(page.rgb.shape[1::-1])).astype(float)
    ours = np.asarray(Image.fromarray(page.rgb).convert("L")).astype(float)
    likeness = np.corrcoef(_coarse(ours).ravel(), _coarse(other).ravel())[0, 1]
    shifted = np.corrcoef(_coarse(ours).ravel(), np.roll(_coarse(other), 1, axis=1).ravel())[0, 1]
    assert likeness > 0.93 > 0.8 > shifted


def _coarse(grey: np.ndarray) -> np.ndarray:
    rows, columns = (side // 8 * 8 for side in grey.shape)
    return grey[:rows, :columns].reshape(rows // 8, 8, columns // 8, 8).mean(axis=(1, 3))


def test_a_document_locked_against_change_alone_is_read(tmp_path: Path) -> None:
    (page,) = _read(encapsulate_pdf(build_pdf(password="")), tmp_path).pictures
    assert _dark_box(page.rgb) == pytest.approx((10 / 300, 170 / 200, 60 / 300, 190 / 200), abs=2e-3)


def test_a_document_with_a_password_is_refused_as_encrypted(tmp_path: Path) -> None:
    assert _refusal(build_pdf(password="secret"), tmp_path) is Reason.ENCRYPTED


@pytest.mark.parametrize(
    "document",
    [b"not a PDF at all", build_pdf()[:60], b"%PDF-1.4\n%%EOF\n", b"\0" * 1000],
    ids=["text", "cut", "hollow", "zeros"],
)
def test_a_broken_document_is_damaged(document: bytes, tmp_path: Path) -> None:
    assert _refusal(document, tmp_path) is Reason.DAMAGED


def test_another_kind_of_document_is_refused_by_its_type(tmp_path: Path) -> None:
    assert _refusal(b"<ClinicalDocument/>", tmp_path, "text/XML") is Reason.UNSUPPORTED_ENCODING


def test_a_document_of_no_bytes_holds_no_picture(tmp_path: Path) -> None:
    assert _refusal(b"", tmp_path) is Reason.NO_PICTURE


@pytest.mark.parametrize(("size", "shape"), [((1e7, 1e7), (2000, 2000)), ((14400, 1), (1, 2000))], ids=str)
def test_a_page_of_absurd_size_is_drawn_no_larger_than_others(
    size: tuple[float, float], shape: tuple[int, int], tmp_path: Path
) -> None:
    (page,) = _read(encapsulate_pdf(build_pdf(size=size)), tmp_path).pictures
    assert page.rgb.shape[:2] == shape


def test_a_page_without_size_is_damaged(tmp_path: Path) -> None:
    assert _refusal(build_pdf(size=(0.5, 0.5)), tmp_path) is Reason.DAMAGED
