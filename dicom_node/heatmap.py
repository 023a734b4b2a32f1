"""The heat map as a Secondary Capture image. PS3.3 A.8.1."""

import numpy as np
from pydicom.dataset import Dataset

from core.states import ReportKind
from core.values import Judgement, ModelIdentity, Picture
from dicom_node.codes import GRAD_CAM, SOURCE_IMAGE
from dicom_node.contexts import ObjectKind
from dicom_node.copying import copy_well_formed
from dicom_node.headers import LOSSY, SourceHeader, copy_patient_and_study, list_request_attributes
from dicom_node.heatmap_picture import draw_heatmap, heat_png, picture_png, thumbnail_png, where
from dicom_node.items import add_equipment, add_times, code_item, finished, reference, software_versions
from dicom_node.objects import BuiltObject, ReportContext
from dicom_node.texts import ALGORITHM, HEATMAP_SERIES, IMAGE_COMMENT, LABEL_TEXTS, MANUFACTURER, MODEL_NAME, plain
from dicom_node.uids import result_uid

__all__ = ["build_heatmap", "heat_png", "picture_png", "thumbnail_png"]

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
SERIES_NUMBER = 9001


def build_heatmap(
    source: SourceHeader, picture: Picture, judgement: Judgement, model: ModelIdentity, context: ReportContext
) -> BuiltObject:
    """A Secondary Capture with the map over the ECG and a panel that says label, probabilities and "not verified"."""
    target = Dataset()
    copy_patient_and_study(source, target)
    target.SOPClassUID = SECONDARY_CAPTURE
    uid = source.sop_instance_uid
    target.SOPInstanceUID = result_uid("heatmap", uid, picture.frame, "", model, context)
    target.SeriesInstanceUID = result_uid("heatmap-series", uid, None, "", model, context)
    target.Modality, target.SeriesNumber, target.InstanceNumber = "OT", SERIES_NUMBER, picture.frame or 1
    target.SeriesDescription, target.BodyPartExamined = HEATMAP_SERIES, "HEART"
    add_times(target, context, "Acquisition")
    add_equipment(target, source, model, context)
    requests = list_request_attributes(source)
    if requests:
        target.RequestAttributesSequence = requests
    _add_capture(target, model, context)
    _add_derivation(target, source, picture, judgement, model)
    _add_pixels(target, source, picture, judgement, model, context)
    return finished(target, ReportKind.HEATMAP, picture.frame)


def _add_capture(target: Dataset, model: ModelIdentity, context: ReportContext) -> None:
    target.ConversionType = "WSD"
    target.SecondaryCaptureDeviceManufacturer = MANUFACTURER
    target.SecondaryCaptureDeviceManufacturerModelName = MODEL_NAME
    target.SecondaryCaptureDeviceSoftwareVersions = software_versions(model, context)
    target.DateOfSecondaryCapture = context.when.strftime("%Y%m%d")
    target.TimeOfSecondaryCapture = context.when.strftime("%H%M%S")


def _add_derivation(
    target: Dataset, source: SourceHeader, picture: Picture, judgement: Judgement, model: ModelIdentity
) -> None:
    label = LABEL_TEXTS[judgement.label] if judgement.label else ""
    hottest = where(judgement, picture.leads)
    target.ImageType, target.PatientOrientation = ["DERIVED", "SECONDARY"], ""
    target.ImageComments = IMAGE_COMMENT
    by = plain(f"{ALGORITHM} {model.name} {model.version}")
    target.DerivationDescription = f"Class activation map for '{label}' ({by}); {hottest}; panel added below"[:1024]
    target.DerivationCodeSequence = [code_item(GRAD_CAM)]
    item = reference(source.sop_class_uid, source.sop_instance_uid, picture.frame)
    item.PurposeOfReferenceCodeSequence = [code_item(SOURCE_IMAGE)]
    if source.kind is ObjectKind.IMAGE:
        item.SpatialLocationsPreserved = "NO"
        target.SourceImageSequence = [item]
    else:
        item.pop("ReferencedFrameNumber", None)
        target.SourceInstanceSequence = [item]
    series = Dataset()
    series.SeriesInstanceUID = source.series_instance_uid
    series.ReferencedInstanceSequence = [reference(source.sop_class_uid, source.sop_instance_uid)]
    target.ReferencedSeriesSequence = [series]


def _add_pixels(
    target: Dataset,
    source: SourceHeader,
    picture: Picture,
    judgement: Judgement,
    model: ModelIdentity,
    context: ReportContext,
) -> None:
    # Whether a name stands in the source's picture is unknown unless the source says so
    copy_well_formed(source.dataset, target, ["BurnedInAnnotation", *LOSSY])
    if not target.get("BurnedInAnnotation"):
        target.BurnedInAnnotation = "YES"
    target.RecognizableVisualFeatures = "NO"
    pixels = np.asarray(draw_heatmap(picture, judgement, model, context.heatmap_strength))
    target.Rows, target.Columns = pixels.shape[:2]
    target.SamplesPerPixel, target.PhotometricInterpretation, target.PlanarConfiguration = 3, "RGB", 0
    target.BitsAllocated = target.BitsStored = 8
    target.HighBit, target.PixelRepresentation = 7, 0
    target.PixelData = pixels.tobytes() + b"\0" * (pixels.size % 2)
    target["PixelData"].VR = "OB"
