"""Made-up PDFs with drawings at known places, locked or not, and the objects that carry them."""

import hashlib
from collections.abc import Sequence

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian, generate_uid

_PAD = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")  # PDF 1.7, 7.6.3.3
_ID = b"0123456789abcdef"
_PERMISSIONS = -44


def build_pdf(
    pages: Sequence[str] = ("10 10 50 20 re f",), size: tuple[float, float] = (300, 200), password: str | None = None
) -> bytes:
    """A PDF whose pages hold these content streams; locked with RC4 when a password, empty or not, is given."""
    key = None if password is None else _key(password)
    count = len(pages)
    kids = " ".join(f"{3 + 2 * n} 0 R" for n in range(count))
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", f"<</Type/Pages/Count {count}/Kids[{kids}]>>".encode()]
    for n, content in enumerate(pages):
        box = f"[0 0 {size[0]} {size[1]}]"
        objects.append(f"<</Type/Page/Parent 2 0 R/MediaBox{box}/Contents {4 + 2 * n} 0 R>>".encode())
        data = content.encode() if key is None else _rc4(_object_key(key, 4 + 2 * n), content.encode())
        objects.append(b"<</Length %d>>stream\n%s\nendstream" % (len(data), data))
    trailer = f"/Size {len(objects) + 2}/Root 1 0 R"
    if key is not None:
        objects.append(_encrypt_dictionary(key))
        trailer += f"/Encrypt {len(objects)} 0 R/ID[<{_ID.hex()}><{_ID.hex()}>]"
    return _assembled(objects, trailer)


def _assembled(objects: Sequence[bytes], trailer: str) -> bytes:
    data, offsets = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    start = len(data)
    data += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n<<{trailer}>>\n".encode()
    return bytes(data + f"startxref\n{start}\n%%EOF\n".encode())


def _key(password: str) -> bytes:
    """PDF 1.7, algorithm 2, revision 2: 40 bits."""
    padded = (password.encode() + _PAD)[:32]
    seed = padded + _owner() + _PERMISSIONS.to_bytes(4, "little", signed=True) + _ID
    return hashlib.md5(seed, usedforsecurity=False).digest()[:5]


def _owner() -> bytes:
    key = hashlib.md5((b"owner" + _PAD)[:32], usedforsecurity=False).digest()[:5]
    return _rc4(key, _PAD)


def _object_key(key: bytes, number: int) -> bytes:
    return hashlib.md5(key + number.to_bytes(3, "little") + b"\0\0", usedforsecurity=False).digest()[:10]


def _encrypt_dictionary(key: bytes) -> bytes:
    owner, user = _owner().hex(), _rc4(key, _PAD).hex()
    return f"<</Filter/Standard/V 1/R 2/O<{owner}>/U<{user}>/P {_PERMISSIONS}>>".encode()


def _rc4(key: bytes, data: bytes) -> bytes:
    state, j = list(range(256)), 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    out, i, j = bytearray(), 0, 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)


def encapsulate_pdf(document: bytes, mime_type: str = "application/pdf") -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = EncapsulatedPDFStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.PatientID, dataset.PatientName, dataset.Modality = "T1", "Test^Ecg", "ECG"
    dataset.MIMETypeOfEncapsulatedDocument = mime_type
    dataset.EncapsulatedDocumentLength = len(document)
    dataset.EncapsulatedDocument = document + b"\0" * (len(document) % 2)
    return dataset
