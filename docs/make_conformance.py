"""Writes docs/conformance.md: hand-written text, with every table taken from the code."""

import re
import sys
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.charset import python_encoding
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from core.destinations import Destination  # noqa: E402
from core.settings import Caller, Settings  # noqa: E402
from core.states import Reason  # noqa: E402
from core.values import Box, Judgement, Label, ModelIdentity, Picture  # noqa: E402
from dicom_node import codes, statuses  # noqa: E402
from dicom_node.contexts import STORAGE_CLASSES, ObjectKind, accepted_contexts, transfer_syntaxes_of  # noqa: E402
from dicom_node.headers import IDENTITY, OPTIONAL, TRIAL, TRIAL_SUBJECT, read_source  # noqa: E402
from dicom_node.heatmap import build_heatmap  # noqa: E402
from dicom_node.leads import NUMBERED  # noqa: E402
from dicom_node.objects import FrameFinding, ReportContext  # noqa: E402
from dicom_node.pixel_header import BITS_ALLOCATED, COLOUR, GREY, PALETTE  # noqa: E402
from dicom_node.report import build_sr  # noqa: E402
from dicom_node.scu import MAX_PDU_BYTES, SR_CLASS_UIDS  # noqa: E402
from dicom_node.statuses import DELIVERED, FailureReason, Status, may_pass  # noqa: E402
from dicom_node.texts import REASON_TEXTS  # noqa: E402
from dicom_node.tls import CIPHERS  # noqa: E402
from dicom_node.transcoding import OFFERED  # noqa: E402

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
VERIFICATION, COMMITMENT = "1.2.840.10008.1.1", "1.2.840.10008.1.20.1"
TEMPLATE = ROOT / "docs" / "conformance.in"
NETWORK_SETTINGS = (
    *("ae_title", "more_ae_titles", "listen_host", "listen_port", "callers", "more_storage_classes"),
    *(
        "max_associations",
        "max_associations_per_address",
        "max_waiting_connections",
        "max_pdu_bytes",
        "max_instance_bytes",
        "max_bytes_in_flight",
    ),
    *("max_nesting", "pdu_timeout_s", "association_timeout_s", "idle_timeout_s", "send_timeout_s", "retry_first_s"),
    *("retry_most_s", "related_objects", "waveform_wait_s", "report_not_diagnostic", "sr_title", "codes"),
    *("max_pixels", "max_frames", "decode_timeout_s", "decode_memory_bytes"),
)
SECURITY_SETTINGS = tuple(name for name in Settings.model_fields if name.startswith("tls_"))
MEANINGS = {
    ObjectKind.IMAGE: "kept; each frame judged",
    ObjectKind.PDF: "kept; each page judged",
    ObjectKind.WAVEFORM: "kept; drawn as a sheet and judged",
    ObjectKind.RETIRED: "kept, not judged (`retired_class`)",
}


def conformance_page() -> str:
    """The text of docs/conformance.md."""
    text = TEMPLATE.read_text(encoding="utf-8")
    named = re.findall(r"^\[\[(\w+)\]\]$", text, re.MULTILINE)
    for name in named:
        text = text.replace(f"[[{name}]]", TABLES[name]())
    return text


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(str(cell).replace('|', '/') for cell in row)} |" for row in rows]
    return "\n".join(lines)


def _settings(names: Sequence[str], owner: type = Settings) -> str:
    fields = owner.model_fields  # type: ignore[attr-defined]
    return _table(
        ("setting", "default", "what"),
        [(f"`{name}`", _default(fields[name]), fields[name].description) for name in names],
    )


def _default(field: object) -> str:
    value = getattr(field, "default", None)
    return "" if value in (None, (), {}, "") or "Undefined" in repr(value) else f"`{value}`"


def overview() -> str:
    rows: list[tuple[str, ...]] = [("Verification", VERIFICATION, "yes", "yes")]
    rows += [(name, uid, "", "yes") for uid, (name, _kind) in STORAGE_CLASSES.items()]
    rows += [(UID(uid).name, uid, "yes", "") for uid in SR_CLASS_UIDS.values()]
    rows += [("Secondary Capture Image (heat map)", SECONDARY_CAPTURE, "yes", "")]
    rows += [("Storage Commitment Push Model", COMMITMENT, "yes", "yes")]
    return _table(("service or SOP class", "UID", "SCU", "SCP"), rows)


def accepted() -> str:
    """One row a presentation context of the listener, as it is given to the association."""
    rows = []
    for context in accepted_contexts(Settings()):
        uid = str(context.abstract_syntax)
        name, kind = STORAGE_CLASSES.get(uid, (UID(uid).name, None))
        syntaxes = ", ".join(SHORT[str(one)] for one in context.transfer_syntax or ())
        rows.append((name, uid, syntaxes, MEANINGS[kind] if kind else "answered"))
    return _table(("SOP class", "UID", "transfer syntaxes", "what becomes of it"), rows)


def _all_syntaxes() -> list[str]:
    found = dict.fromkeys(uid for sop_class in STORAGE_CLASSES for uid in transfer_syntaxes_of(sop_class))
    return list(found)


def _short(uid: str) -> str:
    return uid.removeprefix("1.2.840.10008.1.2").lstrip(".") or "0"


SHORT = {uid: f"{_short(uid)}" for uid in _all_syntaxes()}


def transfer_syntaxes() -> str:
    return _table(("short", "transfer syntax", "UID"), [(SHORT[uid], UID(uid).name, uid) for uid in _all_syntaxes()])


def _answers() -> list[tuple[Status, statuses.RefusedBecause]]:
    """Every pair of status and text that the listener's code can answer a C-STORE with."""
    found = set()
    for name in ("intake.py", "strict.py", "handlers.py"):
        text = (ROOT / "dicom_node" / name).read_text(encoding="utf-8")
        for status, because in re.findall(r"Status\.(\w+), RefusedBecause\.(\w+)\)", text):
            found.add((Status[status], statuses.RefusedBecause[because]))
    return sorted(found)


def store_answers() -> str:
    rows = [(f"{Status.SUCCESS:#06x}", "the file is on disk and its row is committed; a resend of the same, too")]
    rows += [(f"{status:#06x}", because.value) for status, because in _answers()]
    return _table(("status", "Error Comment (0000,0902)"), rows)


def store_received() -> str:
    """What each answer of a PACS makes of a result."""

    def fate(status: int) -> str:
        if status in DELIVERED:
            return "delivered"
        return "tried again, without end" if may_pass(status) else "failed: a person looks"

    known = sorted({*Status, 0xA7FF})
    return _table(("status of the PACS", "the result is"), [(f"{status:#06x}", fate(status)) for status in known])


def rejections() -> str:
    rows = [
        ("calling AE title, address or certificate unknown", statuses.CALLING_AE_TITLE_UNKNOWN),
        ("called AE title is none of ours", statuses.CALLED_AE_TITLE_UNKNOWN),
        ("too many associations, in all or from one address", statuses.LOCAL_LIMIT_EXCEEDED),
    ]
    return _table(("why", "result, source, reason"), [(why, f"{one[0]}, {one[1]}, {one[2]}") for why, one in rows])


def commitment_reasons() -> str:
    return _table(
        ("failure reason (0008,1197)", "meaning"), [(f"{one:#06x}", _words(one.name)) for one in FailureReason]
    )


def _words(name: str) -> str:
    return name.replace("_", " ").lower()


def proposed() -> str:
    rows = [(name, ", ".join(UID(uid).name for uid in syntaxes)) for name, syntaxes in OFFERED.items()]
    return _table(("`transfer_syntax` of a destination", "offered for heat maps, the best first"), rows)


def reasons() -> str:
    return _table(("reason", "in the SR"), [(f"`{reason.value}`", REASON_TEXTS[reason]) for reason in Reason])


def pixels() -> str:
    rows = [
        ("Photometric Interpretation", ", ".join([*sorted(GREY), PALETTE, *sorted(COLOUR)])),
        ("Bits Allocated", ", ".join(map(str, sorted(BITS_ALLOCATED)))),
        ("Pixel Representation", "unsigned, signed"),
        ("Planar Configuration", "0, 1"),
        ("grey", "modality LUT or rescale, VOI LUT or first window (LINEAR, LINEAR_EXACT, SIGMOID), padding, polarity"),
        ("Pixel Aspect Ratio", "stretched to square pixels"),
    ]
    return _table(("attribute", "what is read"), rows)


def leads() -> str:
    rows = [(lead, f"2:{number}", f"5.6.3-9-{number}") for number, lead in NUMBERED.items()]
    return _table(("lead", "MDC", "SCP-ECG"), rows)


def character_sets() -> str:
    known = sorted(term for term in python_encoding if term.startswith(("ISO", "GB")))
    return ", ".join(f"`{term}`" for term in known)


def _example() -> tuple[Dataset, Dataset]:
    """SR and heat map of a Secondary Capture with one frame."""
    model = ModelIdentity("name", "1", "0" * 64, "1", "1", 1, 1, "map")
    heat = np.ones((4, 4), np.float32)
    judgement = Judgement(Label.NORMAL, None, (0.8, 0.1, 0.1), heat, Box(0, 0, 1, 1), 1.0)
    about = ReportContext("installation", "ECGNODE", "0", "0" * 64, datetime(2026, 1, 1, tzinfo=UTC))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "object.dcm"
        _source().save_as(path, enforce_file_format=True)
        source = read_source(path)
        picture = Picture(np.full((40, 60, 3), 255, np.uint8))
        heatmap = build_heatmap(source, picture, judgement, model, about)
        report = build_sr(source, [FrameFinding(None, judgement)], [heatmap], model, about, "comprehensive3d")
        found = []
        for one in (report, heatmap):
            path.write_bytes(one.content)
            found.append(dcmread(path))
    return found[0], found[1]


def _source() -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SECONDARY_CAPTURE
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.1"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.Modality = "1.2.3", "1.2.4", "OT"
    return dataset


COPIED = frozenset([*IDENTITY, *OPTIONAL, *TRIAL, *TRIAL_SUBJECT, "SpecificCharacterSet", "StudyInstanceUID"])


def _attributes(dataset: Dataset) -> str:
    rows = []
    for element in dataset:
        if element.keyword in ("ContentSequence", "PixelData"):
            continue
        fixed = (
            "\\".join(element.value if element.VM > 1 else [str(element.value)])
            if element.VR == "CS" and element.keyword not in COPIED
            else ""
        )
        origin = "copied from the source, empty where it has none" if element.keyword in COPIED else fixed or "made"
        rows.append((str(element.tag).replace(" ", ""), element.name, element.VR, origin))
    return _table(("tag", "attribute", "VR", "value"), rows)


def sr_attributes() -> str:
    return _attributes(_example()[0])


def heatmap_attributes() -> str:
    return _attributes(_example()[1])


def sr_tree() -> str:
    """The content tree of an SR about one picture, as it is built."""
    return "```\n" + "\n".join(_lines(_example()[0], 0)) + "\n```"


def _lines(item: Dataset, depth: int) -> list[str]:
    name = item.ConceptNameCodeSequence[0]
    concept = f'({name.CodeValue}, {name.CodingSchemeDesignator}, "{name.CodeMeaning}")'
    value = item.get("ConceptCodeSequence")
    said = f" = ({value[0].CodeValue}, {value[0].CodingSchemeDesignator})" if value else ""
    head = f"{'  ' * depth}{item.get('RelationshipType', '')} {item.ValueType} {concept}{said}"
    head = head if depth else head.strip()
    return [head, *(line for child in item.get("ContentSequence", []) for line in _lines(child, depth + 1))]


def own_codes() -> str:
    found = [one for one in vars(codes).values() if isinstance(one, codes.Code) and one.scheme == codes.OWN_SCHEME]
    found += codes.PROBABILITIES.values()
    return _table(("code", "meaning"), [(one.value, one.meaning) for one in found])


def tls() -> str:
    return _table(
        ("what", "value"),
        [("least version", "TLS 1.2"), ("ciphers of TLS 1.2 (OpenSSL)", f"`{CIPHERS}`"), ("ciphers of TLS 1.3", "all")],
    )


def implementation() -> str:
    rows = [
        ("Implementation Class UID", str(PYNETDICOM_IMPLEMENTATION_UID)),
        ("Implementation Version Name", PYNETDICOM_IMPLEMENTATION_VERSION),
        (
            "Maximum PDU that is offered to receive",
            f"`max_pdu_bytes`, {Settings.model_fields['max_pdu_bytes'].default}",
        ),
        ("Maximum PDU as SCU", str(MAX_PDU_BYTES)),
        ("SOP Class Extended Negotiation, User Identity", "not used; what a peer proposes is ignored"),
        ("Asynchronous Operations", "not supported: one operation at a time"),
    ]
    return _table(("parameter", "value"), rows)


TABLES = {
    "overview": overview,
    "accepted": accepted,
    "transfer_syntaxes": transfer_syntaxes,
    "store_answers": store_answers,
    "store_received": store_received,
    "rejections": rejections,
    "commitment_reasons": commitment_reasons,
    "proposed": proposed,
    "reasons": reasons,
    "pixels": pixels,
    "leads": leads,
    "character_sets": character_sets,
    "sr_attributes": sr_attributes,
    "sr_tree": sr_tree,
    "heatmap_attributes": heatmap_attributes,
    "own_codes": own_codes,
    "tls": tls,
    "implementation": implementation,
    "network_settings": lambda: _settings(NETWORK_SETTINGS),
    "caller_settings": lambda: _settings(tuple(Caller.model_fields), Caller),
    "destination_settings": lambda: _settings(tuple(Destination.model_fields), Destination),
    "security_settings": lambda: _settings(SECURITY_SETTINGS),
}


if __name__ == "__main__":
    (ROOT / "docs" / "conformance.md").write_text(conformance_page(), encoding="utf-8")
