"""The ECGs that the console's tests look at: drawn by code, with names of many lands and with attacks in every text."""

from pydicom.uid import generate_uid

from dicom_node.scu import Outgoing
from dicom_node.wrap import wrap
from model.rendering import draw_sheet
from model.synthetic import synthetic_signal
from tests.e2e.ecgs import as_outgoing, waveform
from tests.faults.objects import CANARY, small_object

UTF8 = "ISO_IR 192"
JAPANESE = "Yamada^Tarou=山田^太郎=やまだ^たろう"
CYRILLIC = "Люкceмбypг^Анна"
ARABIC = "قباني^لنزار"
SCRIPT = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
SQL = "'; DROP TABLE job; --"
TEMPLATE = "{{ 7*7 }}{% for x in ().__class__ %}${7*7}%s%n"
RIGHT_TO_LEFT = "\u202egnp.elbissop\u202c\u2066x"
TEXTS = {"script": SCRIPT, "sql": SQL, "template": TEMPLATE, "right_to_left": RIGHT_TO_LEFT}
EXPECTED_NAMES = {
    "japanese": "山田, 太郎 (Yamada, Tarou)",
    "cyrillic": "Люкceмбypг, Анна",
    "arabic": "قباني, لنزار",
}
# Keywords whose VR holds free text that long; every one of them is shown somewhere
_FIELDS = {
    "PatientID": 64,
    "StudyDescription": 64,
    "AccessionNumber": 16,
    "Manufacturer": 64,
    "InstitutionName": 64,
    "ReferringPhysicianName": 64,
    "SeriesDescription": 64,
    "DeviceSerialNumber": 64,
    "PatientComments": 1000,
}


def drawn_sheet(rate: float = 75.0, injury: float = 0.0, seed: int = 1, **attributes: object) -> Outgoing:
    """A sheet drawn by code, as Secondary Capture."""
    from PIL import Image

    rgb = draw_sheet(synthetic_signal(rate, injury, "regular", seed=seed)).rgb
    ds = wrap(_png(Image.fromarray(rgb)), "drawn", patient_id="D1", patient_name="Drawn^Sheet")
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return as_outgoing(ds)


def _png(image: object) -> bytes:
    import io

    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)  # type: ignore[attr-defined]
    return file.getvalue()


def attacked(text: str) -> Outgoing:
    """An ECG with a text in every header field that takes one."""
    values = {keyword: text[:longest] for keyword, longest in _FIELDS.items()}
    return waveform(SpecificCharacterSet=UTF8, PatientName=f"{text[:60]}^x", **values)


def site_objects() -> dict[str, tuple[str, Outgoing]]:
    """By a name of the test's own: calling AE title and object."""
    same = {"PatientID": "A-100", "SpecificCharacterSet": UTF8}
    objects = {
        "first": ("CART1", waveform(**same, PatientName="Muster^Erika", AccessionNumber="ACC1")),
        "second": ("CART1", waveform(**same, PatientName="Muster^Erika", AccessionNumber="ACC2")),
        "urgent": ("CART2", drawn_sheet(injury=0.6, StudyDescription="chest pain", PatientName="Urgent^Sheet")),
        "normal": (
            "CART2",
            drawn_sheet(seed=2, PatientName="Quiet^Sheet", PatientID="D2", StudyID=generate_uid()[-9:]),
        ),
        "blank": ("CART2", small_object(7)),
        "canary": ("CART3", waveform(PatientName=f"{CANARY}^Name", PatientID=f"{CANARY}-ID", AccessionNumber=CANARY)),
    }
    for name, value in (("japanese", JAPANESE), ("cyrillic", CYRILLIC), ("arabic", ARABIC)):
        objects[name] = ("CART4", waveform(SpecificCharacterSet=UTF8, PatientName=value, PatientID=name))
    for name, text in TEXTS.items():
        objects[name] = ("CART5", attacked(text))
    return objects
