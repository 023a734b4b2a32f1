"""DICOM as readable lines: a received header, a stored SR. Nothing here looks at pixels."""

import io
from collections.abc import Iterator
from dataclasses import dataclass

from pydicom import dcmread
from pydicom.datadict import dictionary_description
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.tag import BaseTag

from console.words import clean, name_text

_DEEPEST = 16
_LONGEST = 300
_BULK = frozenset(["OB", "OD", "OF", "OL", "OV", "OW", "UN"])
# What pydicom raises for values that are not what their VR says
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, NotImplementedError, OverflowError, OSError, EOFError)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text, `depth` steps in."""

    depth: int
    name: str
    value: str
    tag: str = ""


def header_lines(dataset: Dataset, depth: int = 0) -> Iterator[Line]:
    """Every element of a header; what cannot be read says so."""
    for tag in sorted(dataset.keys()):
        try:
            element = dataset[tag]
            name, value = _name(tag), _value(element)
        except _UNREADABLE:
            yield Line(depth, _name(tag), "cannot be read", str(tag))
            continue
        yield Line(depth, name, value, str(tag))
        if element.VR == "SQ" and depth < _DEEPEST:
            for number, item in enumerate(element.value, start=1):
                yield Line(depth + 1, f"Item {number}", "")
                yield from header_lines(item, depth + 2)


def _name(tag: BaseTag) -> str:
    try:
        return dictionary_description(tag)
    except KeyError:
        return "Private element" if tag.is_private else "Unknown element"


def _value(element: DataElement) -> str:
    if element.VR == "SQ":
        return f"{len(element.value)} item(s)"
    if element.VR in _BULK:
        return f"{len(element.value or b'')} bytes"
    text = clean(str(element.value if element.value is not None else ""))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ... ({len(text)} characters)"


def report_lines(content: bytes) -> list[Line]:
    """The content tree of an SR, a line an item; of another object its header. PS3.3 C.17.3."""
    try:
        dataset = dcmread(io.BytesIO(content), stop_before_pixels=True)
    except (InvalidDicomError, *_UNREADABLE):
        return [Line(0, "This report cannot be read", "")]
    if "ContentSequence" not in dataset:
        return list(header_lines(dataset))
    return [Line(0, _meaning(dataset, "ConceptNameCodeSequence"), ""), *_content(dataset, 1)]


def _content(node: Dataset, depth: int) -> Iterator[Line]:
    for item in node.get("ContentSequence", []):
        yield Line(depth, _meaning(item, "ConceptNameCodeSequence"), _content_value(item))
        if depth < _DEEPEST:
            yield from _content(item, depth + 1)


def _content_value(item: Dataset) -> str:
    kind = item.get("ValueType", "")
    if kind == "CODE":
        return _meaning(item, "ConceptCodeSequence")
    if kind == "NUM":
        measured = item.get("MeasuredValueSequence") or [Dataset()]
        return f"{measured[0].get('NumericValue', '')} {_meaning(measured[0], 'MeasurementUnitsCodeSequence')}".strip()
    if kind in ("IMAGE", "COMPOSITE", "WAVEFORM"):
        referenced = item.get("ReferencedSOPSequence") or [Dataset()]
        return str(referenced[0].get("ReferencedSOPInstanceUID", ""))
    if kind == "PNAME":
        return name_text(str(item.get("PersonName", "")))
    keywords = {"TEXT": "TextValue", "UIDREF": "UID", "DATETIME": "DateTime", "DATE": "Date", "TIME": "Time"}
    return clean(str(item.get(keywords.get(kind, ""), ""))) if kind in keywords else ""


def _meaning(node: Dataset, keyword: str) -> str:
    items = node.get(keyword) or []
    return clean(str(items[0].get("CodeMeaning", ""))) if items else ""
