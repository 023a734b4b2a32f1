"""UIDs that follow from what they name: the same input and model give the same UID, on every machine of a site."""

from hashlib import sha256

from core.values import ModelIdentity
from dicom_node.objects import ReportContext

TEMPLATE_VERSION = "2"


def derived_uid(*parts: object) -> str:
    """`2.25.` and 128 bits of SHA-256 over the parts. PS3.5 B.2."""
    digest = sha256("\x1f".join(map(str, parts)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def result_uid(
    kind: str, source_uid: str, frame: int | None, sop_class: str, model: ModelIdentity, context: ReportContext
) -> str:
    """UID of a result of one kind, of one input, by one model."""
    return derived_uid(
        context.installation,
        kind,
        source_uid,
        context.content_sha256,
        frame or 0,
        model.weights_sha256,
        model.preprocessing_version,
        model.calibration_version,
        sorted(model.thresholds.items()),
        TEMPLATE_VERSION,
        context.codes.fingerprint,
        context.heatmap_strength,
        sop_class,
    )
