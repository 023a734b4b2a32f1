"""Real objects, and every file that comes with pydicom: each becomes pictures or ends with its reason."""

from collections.abc import Iterator
from pathlib import Path

import pydicom.data
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

from core.errors import NotDiagnostic
from core.settings import Settings
from core.states import Reason
from tests.conftest import DATA, need_data
from tests.intake.image_objects import Format, build_image, ecg_like, save
from tests.intake.pdf_objects import encapsulate_pdf
from worker.decoder import Decoder

SAMPLES = Path(pydicom.data.__file__).parent
PICTURES = "pictures"
WHEEL = sorted(path for folder in ("test_files", "charset_files") for path in (SAMPLES / folder).rglob("*.*"))
NOT_READ = {
    "rtplan.dcm": Reason.NO_PICTURE,
    "rtplan_truncated.dcm": Reason.NO_PICTURE,
    "rtstruct.dcm": Reason.NO_PICTURE,
    "reportsi.dcm": Reason.NO_PICTURE,
    "reportsi_with_empty_number_tags.dcm": Reason.NO_PICTURE,
    "test-SR.dcm": Reason.NO_PICTURE,
    "ExplVR_BigEndNoMeta.dcm": Reason.NO_PICTURE,
    "ExplVR_LitEndNoMeta.dcm": Reason.NO_PICTURE,
    "chrJapMulti.dcm": Reason.NO_PICTURE,
    "chrJapMultiExplicitIR6.dcm": Reason.NO_PICTURE,
    "chrKoreanMulti.dcm": Reason.NO_PICTURE,
    "image_dfl.dcm": Reason.UNSUPPORTED_ENCODING,
    "DICOMDIR-empty.dcm": Reason.DAMAGED,
    "MR_truncated.dcm": Reason.DAMAGED,
    "JPEG2000-embedded-sequence-delimiter.dcm": Reason.DAMAGED,
    "badVR.dcm": Reason.DAMAGED,
    "UN_sequence.dcm": Reason.DAMAGED,
    "chrSQEncoding.dcm": Reason.DAMAGED,
    "chrSQEncoding1.dcm": Reason.DAMAGED,
    "empty_charset_LEI.dcm": Reason.DAMAGED,
    "meta_missing_tsyntax.dcm": Reason.DAMAGED,
    "nested_priv_SQ.dcm": Reason.DAMAGED,
    "no_meta.dcm": Reason.DAMAGED,
    "no_meta_group_length.dcm": Reason.DAMAGED,
    "priv_SQ.dcm": Reason.DAMAGED,
}
REAL = {
    "dicom/12lead-eli250-1000hz.dcm": PICTURES,
    "dicom/12lead-eli250-500hz.dcm": PICTURES,
    "dicom/general-ecg-muse.dcm": PICTURES,
    "dicom/general-ecg-synthetic.dcm": PICTURES,
    "dicom/hemodynamic-12lead-240hz.dcm": PICTURES,
    "dicom/edge-1channel.dcm": Reason.TOO_FEW_LEADS,
    # Not ECGs, but that is the network's gate to say
    "negatives/encapsulated-pdf-generic.dcm": PICTURES,
    "negatives/encapsulated-pdf-not-ecg.dcm": PICTURES,
}


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder(Settings(demo=True)) as running:
        yield running


def _end(decoder: Decoder, path: Path) -> str | Reason:
    try:
        return PICTURES if decoder.pictures_of(path).pictures else "nothing"
    except NotDiagnostic as refused:
        return refused.reason


@pytest.mark.parametrize("path", WHEEL, ids=lambda path: path.name)
def test_every_file_of_pydicom_ends_in_a_named_state(path: Path, decoder: Decoder) -> None:
    if path.suffix == ".dcm":
        assert _end(decoder, path) == NOT_READ.get(path.name, PICTURES)
    else:
        # Text read as DICOM may claim any length
        assert _end(decoder, path) in (Reason.DAMAGED, Reason.NO_PICTURE, Reason.TOO_BIG)


@pytest.mark.parametrize("name", REAL)
def test_a_real_object_ends_as_it_should(name: str, decoder: Decoder) -> None:
    assert _end(decoder, need_data(name)) == REAL[name]


@pytest.mark.parametrize("path", sorted(DATA.glob("p*/**/*.jpg")), ids=lambda path: path.name)
def test_a_page_or_photo_comes_out_of_its_object_as_it_went_in(path: Path, decoder: Decoder, tmp_path: Path) -> None:
    """Carts wrap the JPEG file itself: the picture is the one that an independent decoder shows."""
    image = Image.open(path)
    dataset = build_image(Format("rgb", "RGB", 8, 8), ecg_like(Format("rgb", "RGB", 8, 8)))
    dataset.Rows, dataset.Columns = image.height, image.width
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.SamplesPerPixel = len(image.getbands())
    dataset.PhotometricInterpretation = "YBR_FULL_422" if dataset.SamplesPerPixel == 3 else "MONOCHROME2"
    dataset.PixelData = encapsulate([path.read_bytes()])
    dataset["PixelData"].is_undefined_length = True
    (picture,) = decoder.pictures_of(save(dataset, tmp_path / "page.dcm")).pictures
    assert picture.rgb.shape == (image.height, image.width, 3)
    assert abs(picture.rgb.astype(int) - image.convert("RGB")).max() <= 1


def test_a_wrapped_real_pdf_is_one_picture(decoder: Decoder, tmp_path: Path) -> None:
    document = need_data("dicom/anonymous_ecg_3x4_1.pdf").read_bytes()
    path = save(encapsulate_pdf(document), tmp_path / "pdf.dcm")
    assert len(decoder.pictures_of(path).pictures) == 1
