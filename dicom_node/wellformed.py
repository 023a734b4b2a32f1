"""Whether an optional attribute of a sender may be passed on: what breaks its VR or its enumeration would make ours
invalid, too. PS3.5 6.2, PS3.3 C.7.1 to C.7.3."""

import re
from collections.abc import Callable, Sequence

from pydicom.charset import decode_bytes
from pydicom.datadict import dictionary_VM, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS

# Characters that the values of a VR may have at most, PS3.5 Table 6.2-1
_LENGTHS = {"LO": 64, "SH": 16, "ST": 1024, "LT": 10240, "UT": 1 << 16, "UC": 1 << 16}
_PATTERNS = {
    "AE": re.compile(rb"[ -\[\]-~]{0,16}"),
    "AS": re.compile(rb"\d{3}[DWMY]"),
    "CS": re.compile(rb"[A-Z0-9_ ]{0,16}"),
    "DA": re.compile(rb"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])"),
    "DS": re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"),
    "DT": re.compile(rb"\d{4}(\d\d){0,5}(\.\d{1,6})?([+-]\d{4})?"),
    "IS": re.compile(rb"[+-]?\d{1,11}"),
    "TM": re.compile(rb"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?"),
    "UI": re.compile(rb"(0|[1-9]\d*)(\.(0|[1-9]\d*))+"),
}
_MOST_BYTES = {"DS": 16, "IS": 12, "UI": 64}
_WORDS = {
    "BurnedInAnnotation": {"YES", "NO"},
    "LongitudinalTemporalInformationModified": {"UNMODIFIED", "MODIFIED", "REMOVED"},
    "LossyImageCompression": {"00", "01"},
    "PatientIdentityRemoved": {"YES", "NO"},
    "QualityControlSubject": {"YES", "NO"},
    "TypeOfPatientID": {"TEXT", "RFID", "BARCODE"},
    "UniversalEntityIDType": {"DNS", "EUI64", "ISO", "URI", "UUID", "X400", "X500"},
}
_LINES = {"ST", "LT", "UT"}  # may have several
_CODE = (("CodeMeaning",), ("CodeValue", "LongCodeValue", "URNCodeValue"))
_REFERENCE = (("ReferencedSOPClassUID",), ("ReferencedSOPInstanceUID",))
_ISSUER = (("LocalNamespaceEntityID", "UniversalEntityID"),)
# Of each group one attribute at least must stand in an item of the sequence
_NEEDED = {
    "ProcedureCodeSequence": _CODE,
    "RequestedProcedureCodeSequence": _CODE,
    "DeidentificationMethodCodeSequence": _CODE,
    "PatientSpeciesCodeSequence": _CODE,
    "PatientBreedCodeSequence": _CODE,
    "ScheduledProtocolCodeSequence": _CODE,
    "ReasonForRequestedProcedureCodeSequence": _CODE,
    "ReferencedStudySequence": _REFERENCE,
    "OtherPatientIDsSequence": (("PatientID",), ("TypeOfPatientID",)),
    "IssuerOfAccessionNumberSequence": _ISSUER,
    "IssuerOfPatientIDQualifiersSequence": (("UniversalEntityID", "AssigningFacilitySequence"),),
    "BreedRegistrationSequence": (("BreedRegistrationNumber",), ("BreedRegistryCodeSequence",)),
}


def is_well_formed(tag: BaseTag, keyword: str, vr: str, value: bytes, encodings: Sequence[str]) -> bool:
    """Whether the bytes of an element are a value of its VR, of its multiplicity and of its enumeration."""
    bare = value.rstrip(b" \0")
    if not bare:
        return True
    if keyword in _WORDS:
        return bare.strip(b" ").decode("ascii", "replace") in _WORDS[keyword]
    several = dictionary_VM(tag) not in ("1", "0")
    if vr in _PATTERNS:
        values = bare.split(b"\\") if several else [bare]
        most = _MOST_BYTES.get(vr, 1 << 16)
        return all(_PATTERNS[vr].fullmatch(one.strip(b" ")) and len(one) <= most for one in values)
    if vr == "PN":
        return _is_text(bare, encodings, PN_DELIMS, several, _is_name)
    if vr in _LENGTHS:
        if vr in _LINES:
            return len(bare) <= _LENGTHS[vr] * 4
        return _is_text(bare, encodings, TEXT_VR_DELIMS, several, lambda text: _is_line(text, _LENGTHS[vr]))
    return True


def _is_text(
    value: bytes, encodings: Sequence[str], delimiters: set[int], several: bool, is_one: Callable[[str], bool]
) -> bool:
    text = decode_bytes(value, list(encodings), delimiters)
    return all(map(is_one, text.split("\\") if several else [text]))


def _is_line(text: str, most: int) -> bool:
    return len(text) <= most and "\\" not in text and text.isprintable()


def _is_name(text: str) -> bool:
    """PS3.5 6.2.1: at most three groups of five components."""
    groups = text.split("=")
    return len(groups) <= 3 and all(one.count("^") <= 4 and _is_line(one, 64) for one in groups)


def has_what_it_needs(sequence: str, item: Dataset) -> bool:
    """Whether an item of a sequence has the attributes without which it says nothing."""
    return bool(item) and all(any(has_value(item, one) for one in group) for group in _NEEDED.get(sequence, ()))


def has_value(dataset: Dataset, keyword: str) -> bool:
    """Whether an attribute is there and not empty, without decoding it."""
    tag = Tag(tag_for_keyword(keyword) or 0)
    value = dataset.get_item(tag).value if tag in dataset else None
    return bool(value.strip(b" \0") if isinstance(value, bytes) else value)
