"""Pages out of an encapsulated PDF (PS3.3 C.24.2), vector or scanned."""

import pypdfium2
from pydicom.dataset import Dataset
from pypdfium2 import PdfDocument, PdfiumError

from core.errors import NotDiagnostic
from core.states import Reason
from core.values import Picture
from dicom_node.ecg_object import Limits

PAGE_SIDE = 2000  # px: an A4 page at 171 dpi, 6.7 px a millimetre; the network looks at half of it
_LOCKED = frozenset({4, 5})  # FPDF_ERR_PASSWORD and FPDF_ERR_SECURITY of fpdfview.h
_LEAST_SIDE = 1.0  # points


def read_pages(dataset: Dataset, limits: Limits) -> tuple[tuple[Picture, ...], int]:
    """The first pages as pictures, and how many were left out. Raises NotDiagnostic."""
    kind = str(dataset.get("MIMETypeOfEncapsulatedDocument") or "application/pdf").strip().lower()
    if kind != "application/pdf":
        raise NotDiagnostic(Reason.UNSUPPORTED_ENCODING, "the encapsulated document is no PDF")
    document = bytes(dataset.EncapsulatedDocument or b"")
    length = dataset.get("EncapsulatedDocumentLength")
    if length and 0 < length < len(document):
        document = document[:length]
    if not document:
        raise NotDiagnostic(Reason.NO_PICTURE, "the encapsulated document is empty")
    with _open(document) as pdf:
        count = len(pdf)
        if not count:
            raise NotDiagnostic(Reason.NO_PICTURE, "the PDF has no page")
        judged = min(count, limits.max_frames)
        return tuple(_page(pdf, n, count) for n in range(judged)), count - judged


def _open(document: bytes) -> PdfDocument:
    try:
        return pypdfium2.PdfDocument(document)
    except PdfiumError as error:
        if error.err_code in _LOCKED:
            raise NotDiagnostic(Reason.ENCRYPTED, "the PDF is locked with a password") from error
        raise NotDiagnostic(Reason.DAMAGED, "the PDF cannot be opened") from error


def _page(pdf: PdfDocument, number: int, count: int) -> Picture:
    try:
        page = pdf[number]
        side = max(page.get_size())
        if not side >= _LEAST_SIDE:
            raise NotDiagnostic(Reason.DAMAGED, f"page {number + 1} of the PDF has no size")
        bitmap = page.render(scale=PAGE_SIDE / side, rev_byteorder=True, may_draw_forms=False)
    except PdfiumError as error:
        raise NotDiagnostic(Reason.DAMAGED, f"page {number + 1} of the PDF cannot be drawn") from error
    rgb = bitmap.to_numpy()[..., :3].copy()
    return Picture(rgb, frame=number + 1 if count > 1 else None)
