"""Elements of a received data set put into one of ours: texts keep their bytes, whether they can be decoded or not."""

from collections.abc import Iterable

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.tag import BaseTag, Tag

from dicom_node.wellformed import has_what_it_needs, is_well_formed

_TEXT_VRS = frozenset(
    ["AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"]
)
_STRING_PADDING = {"UI": b"\0"}
_IMPLICIT_HEAD = 8  # bytes of tag and length


def copy_elements(source: Dataset, target: Dataset, keywords: Iterable[str]) -> None:
    """Copy elements as they are, well-formed or not."""
    _copy(source, target, keywords, checked=False)


def copy_well_formed(source: Dataset, target: Dataset, keywords: Iterable[str]) -> None:
    """Copy elements that are well-formed; of sequences those items that are."""
    _copy(source, target, keywords, checked=True)


def _copy(source: Dataset, target: Dataset, keywords: Iterable[str], checked: bool) -> None:
    for keyword in keywords:
        tag = Tag(tag_for_keyword(keyword) or 0)
        copied = _copied(source, tag, checked) if tag in source else None
        if copied is not None:
            target[tag] = copied


def _copied(source: Dataset, tag: BaseTag, checked: bool) -> DataElement | RawDataElement | None:
    element = source.get_item(tag)
    vr = element.VR if element.VR not in (None, "UN") else dictionary_VR(tag)
    if vr == "SQ":
        return _copied_sequence(source, tag, checked)
    if vr not in _TEXT_VRS:
        return source[tag]
    value = _bytes_of(element, source)
    if checked and not is_well_formed(tag, keyword_for_tag(tag), vr, value, _encodings_of(source)):
        return None
    value += _STRING_PADDING.get(vr, b" ") * (len(value) % 2)
    return RawDataElement(tag, vr, len(value), value, 0, False, True)


def _bytes_of(element: DataElement | RawDataElement, source: Dataset) -> bytes:
    """A text's value as it was sent, or as it is to be sent where it was set in memory."""
    if isinstance(element, RawDataElement):
        return element.value or b""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = True, True
    write_data_element(buffer, element, _encodings_of(source))
    return buffer.getvalue()[_IMPLICIT_HEAD:]


def _encodings_of(source: Dataset) -> list[str]:
    known = source.original_character_set
    return [known] if isinstance(known, str) else list(known)


def _copied_sequence(source: Dataset, tag: BaseTag, checked: bool) -> DataElement | None:
    """The items, each copied; read from its bytes, because they may be in another transfer syntax than ours."""
    keyword = keyword_for_tag(tag)
    try:
        items = [_copied_item(item, checked) for item in source[tag].value or []]
    except (ValueError, TypeError, EOFError, NotImplementedError):
        return None
    kept = [item for item in items if not checked or has_what_it_needs(keyword, item)]
    return DataElement(tag, "SQ", kept) if kept or not checked else None


def keep_bytes(dataset: Dataset, implicit_vr: bool = False) -> None:
    """Have texts that are still bytes written as they are; pydicom would decode and encode them once more.

    For little endian. What is not text is decoded here, so that it is written in the VR encoding that is wanted.
    """
    for tag in list(dataset.keys()):
        raw = dataset.get_item(tag)
        if isinstance(raw, RawDataElement) and raw.VR in _TEXT_VRS:
            continue
        element = dataset[tag]
        for item in element.value or [] if element.VR == "SQ" else []:
            keep_bytes(item, implicit_vr)
    dataset.set_original_encoding(implicit_vr, True, dataset._character_set)


def _copied_item(item: Dataset, checked: bool) -> Dataset:
    copied = Dataset()
    for tag in item.keys():  # noqa: SIM118 iterating over a data set would decode it
        element = _copied(item, tag, checked) if not tag.is_private and keyword_for_tag(tag) else None
        if element is not None:
            copied[tag] = element
    return copied
