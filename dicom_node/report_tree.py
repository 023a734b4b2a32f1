"""The content tree of the SR. Every item has a concept name and every container is SEPARATE: viewers need both."""

from collections.abc import Sequence

from pydicom.dataset import Dataset

from core.values import LABELS, Label, ModelIdentity
from dicom_node import codes
from dicom_node.codes import Code
from dicom_node.contexts import STORAGE_CLASSES, ObjectKind
from dicom_node.headers import SourceHeader
from dicom_node.items import code_item, device_uid, reference
from dicom_node.objects import BuiltObject, FrameFinding, ReportContext
from dicom_node.texts import (
    ALGORITHM,
    MANUFACTURER,
    MODEL_NAME,
    NOT_VERIFIED,
    TRACKING,
    label_summary,
    plain,
    reason_summary,
)
from dicom_node.uids import derived_uid

CONTAINS, CONTEXT, MODIFIER = "CONTAINS", "HAS OBS CONTEXT", "HAS CONCEPT MOD"
TWELVE_LEAD_CLASS = "1.2.840.10008.5.1.4.1.1.9.1.1"
# PS3.3 C.10.8: channel 0 stands for all channels of a multiplex group
FIRST_GROUP_ALL_CHANNELS = [1, 0]


def content_tree(
    source: SourceHeader,
    findings: Sequence[FrameFinding],
    heatmaps: Sequence[BuiltObject],
    model: ModelIdentity,
    context: ReportContext,
) -> Dataset:
    """The root container with everything below it. PS3.16 TID 1500."""
    items = [
        _code(codes.LANGUAGE, codes.ENGLISH, MODIFIER),
        *_observer(context),
        _code(codes.PROCEDURE_REPORTED, _procedure(source), MODIFIER),
    ]
    if source.kind is ObjectKind.IMAGE:
        items.append(_library(source))
    labelled = [finding for finding in findings if finding.judgement.label is not None]
    if labelled:
        groups = [_group(source, one, heatmaps, model, context) for one in labelled]
        items.append(_container(codes.MEASUREMENTS, groups))
    items.append(_container(codes.QUALITATIVE, _qualitative(source, findings, context)))
    root = _container(context.codes.title, items, template="1500")
    del root.RelationshipType
    return root


def _item(value_type: str, name: Code, relationship: str) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType = relationship, value_type
    item.ConceptNameCodeSequence = [code_item(name)]
    return item


def _container(name: Code, children: Sequence[Dataset], template: str = "") -> Dataset:
    item = _item("CONTAINER", name, CONTAINS)
    item.ContinuityOfContent = "SEPARATE"
    if template:
        known = Dataset()
        known.MappingResource, known.TemplateIdentifier = "DCMR", template
        item.ContentTemplateSequence = [known]
    item.ContentSequence = list(children)
    return item


def _code(name: Code, value: Code, relationship: str = CONTAINS) -> Dataset:
    item = _item("CODE", name, relationship)
    item.ConceptCodeSequence = [code_item(value)]
    return item


def _text(name: Code, value: str, relationship: str = CONTAINS) -> Dataset:
    item = _item("TEXT", name, relationship)
    item.TextValue = value
    return item


def _uid(name: Code, value: str, relationship: str) -> Dataset:
    item = _item("UIDREF", name, relationship)
    item.UID = value
    return item


def _percent(name: Code, share: float, children: Sequence[Dataset] = ()) -> Dataset:
    item = _item("NUM", name, CONTAINS)
    measured = Dataset()
    measured.NumericValue = f"{100 * share:.1f}"
    measured.MeasurementUnitsCodeSequence = [code_item(codes.PERCENT)]
    item.MeasuredValueSequence = [measured]
    if children:
        item.ContentSequence = list(children)
    return item


def _composite(value_type: str, name: Code, referenced: Dataset) -> Dataset:
    item = _item(value_type, name, CONTAINS)
    item.ReferencedSOPSequence = [referenced]
    return item


def _observer(context: ReportContext) -> list[Dataset]:
    """TID 1002 and 1004: a device."""
    return [
        _code(codes.OBSERVER_TYPE, codes.DEVICE, CONTEXT),
        _uid(codes.DEVICE_UID, device_uid(context), CONTEXT),
        _text(codes.DEVICE_NAME, context.ae_title, CONTEXT),
        _text(codes.DEVICE_MANUFACTURER, MANUFACTURER, CONTEXT),
        _text(codes.DEVICE_MODEL, MODEL_NAME, CONTEXT),
        _text(codes.DEVICE_SERIAL, context.installation, CONTEXT),
    ]


def _procedure(source: SourceHeader) -> Code:
    return codes.TWELVE_LEAD_ECG if source.sop_class_uid == TWELVE_LEAD_CLASS else codes.ECG_PROCEDURE


def _library(source: SourceHeader) -> Dataset:
    """TID 1600."""
    image = _composite("IMAGE", codes.SOURCE, reference(source.sop_class_uid, source.sop_instance_uid))
    modality = codes.PHOTOGRAPH if source.text("Modality") == "XC" else codes.ECG
    image.ContentSequence = [_code(codes.MODALITY, modality, "HAS ACQ CONTEXT")]
    return _container(codes.IMAGE_LIBRARY, [_container(codes.IMAGE_LIBRARY_GROUP, [image])], template="1600")


def _group(
    source: SourceHeader,
    finding: FrameFinding,
    heatmaps: Sequence[BuiltObject],
    model: ModelIdentity,
    context: ReportContext,
) -> Dataset:
    """TID 1501 for one frame."""
    judgement = finding.judgement
    assert judgement.label is not None
    assert judgement.probabilities is not None
    frame = f", frame {finding.frame}" if finding.frame else ""
    # The tracking UID names what is tracked, the ECG, so it must not change with the model
    tracking = derived_uid(context.installation, "tracking", source.sop_instance_uid, finding.frame or 0)
    shares = dict(zip(LABELS, judgement.probabilities, strict=True))
    children = [
        _text(codes.TRACKING_ID, TRACKING + frame, CONTEXT),
        _uid(codes.TRACKING_UID, tracking, CONTEXT),
        _code(codes.FINDING, context.codes.findings[judgement.label]),
        _code(codes.FINDING_SITE, codes.HEART, MODIFIER),
        *_algorithm(model),
        *(_explanation(one) for one in heatmaps if one.frame == finding.frame),
        _percent(codes.CERTAINTY, shares[judgement.label]),
        *(_probability(label, share, context) for label, share in shares.items()),
        *_source(source, finding.frame, context),
    ]
    return _container(codes.MEASUREMENT_GROUP, children, template="1501")


def _algorithm(model: ModelIdentity) -> list[Dataset]:
    parameters = [
        f"weights sha256 {model.weights_sha256}",
        f"preprocessing {model.preprocessing_version}, calibration {model.calibration_version}",
        f"input {model.input_height}x{model.input_width}",
        f"explanation {model.explanation}",
        *(f"threshold {name} {value:g}" for name, value in sorted(model.thresholds.items())),
    ]
    return [
        _text(codes.ALGORITHM_NAME, plain(f"{ALGORITHM} ({model.name})"), MODIFIER),
        _text(codes.ALGORITHM_VERSION, plain(model.version), MODIFIER),
        *(_text(codes.ALGORITHM_PARAMETERS, plain(one), MODIFIER) for one in parameters),
        _code(codes.ALGORITHM_FAMILY, codes.ARTIFICIAL_INTELLIGENCE, MODIFIER),
    ]


def _explanation(heatmap: BuiltObject) -> Dataset:
    return _composite("IMAGE", codes.VISUAL_EXPLANATION, reference(heatmap.sop_class_uid, heatmap.sop_instance_uid))


def _probability(label: Label, share: float, context: ReportContext) -> Dataset:
    finding = _code(codes.FINDING, context.codes.findings[label], MODIFIER)
    return _percent(codes.PROBABILITIES[label], share, [finding])


def _source(source: SourceHeader, frame: int | None, context: ReportContext) -> list[Dataset]:
    """TID 1501 rows 10b and 10f: image or waveform. It has no row for a document, which `_qualitative` names."""
    referenced = reference(source.sop_class_uid, source.sop_instance_uid)
    if source.kind is ObjectKind.PDF:
        return []
    if source.kind is ObjectKind.WAVEFORM:
        channels = [number for pair in context.channels for number in pair]
        referenced.ReferencedWaveformChannels = channels or FIRST_GROUP_ALL_CHANNELS
        return [_composite("WAVEFORM", codes.SOURCE_OF_MEASUREMENT, referenced)]
    if frame is not None:
        referenced.ReferencedFrameNumber = frame
    return [_composite("IMAGE", codes.SOURCE_OF_MEASUREMENT, referenced)]


def _qualitative(source: SourceHeader, findings: Sequence[FrameFinding], context: ReportContext) -> list[Dataset]:
    """The overall finding, each frame's summary in words, the document, and that nobody verified it."""
    items = [_code(codes.OVERALL_FINDING, _overall(findings, context))]
    for finding in findings:
        judgement = finding.judgement
        frame = f"Frame {finding.frame}: " if finding.frame else ""
        if judgement.label is not None and judgement.probabilities is not None:
            items.append(_text(codes.SUMMARY, frame + label_summary(judgement.label, judgement.probabilities)))
        elif judgement.reason is not None:
            items.append(_text(codes.SUMMARY, frame + reason_summary(judgement.reason)))
    if source.kind is ObjectKind.PDF:
        items.append(_named(codes.SOURCE, source.sop_class_uid, source.sop_instance_uid))
    items += [_named(codes.SAME_ECG, sop_class, uid) for _study, _series, sop_class, uid in context.same_ecg]
    items.append(_text(codes.COMMENT, NOT_VERIFIED))
    return items


def _named(name: Code, sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    """An object in words; the evidence has the reference itself."""
    known, _kind = STORAGE_CLASSES.get(sop_class_uid, (sop_class_uid, None))
    return _text(name, f"{known} {sop_instance_uid}")


def _overall(findings: Sequence[FrameFinding], context: ReportContext) -> Code:
    labels = {finding.judgement.label for finding in findings if finding.judgement.label is not None}
    if not labels:
        return codes.NON_DIAGNOSTIC_ECG
    return context.codes.overall_normal if labels == {Label.NORMAL} else context.codes.overall_abnormal
