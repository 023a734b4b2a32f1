"""Every text that a report shows to a person. ASCII, so that it reads the same in every character set."""

from core.states import Reason
from core.values import LABELS, NOTICE, Label

MANUFACTURER = "ECG node"
MODEL_NAME = "ECG node"
ALGORITHM = "ECG image classifier"
SR_SERIES = "AI ECG classification (unverified)"
HEATMAP_SERIES = "AI ECG heat map (unverified)"
TRACKING = "ECG classification"
NOT_VERIFIED = NOTICE
DEIDENTIFICATION_NOT_STATED = "not stated by the source"
IMAGE_COMMENT = "AI result, not verified by a physician"
AI_RESULT = "AI result"
CANNOT_BE_JUDGED = "cannot be judged"
MOST_INFLUENCE = "most influence"
ROWS, COLUMNS = ("upper", "middle", "lower"), ("left", "centre", "right")
COLOUR_BAR = ("low", "influence on the result", "high")

LABEL_TEXTS: dict[Label, str] = {
    Label.NORMAL: "Normal",
    Label.ABNORMAL_HEARTBEAT: "Abnormal heartbeat",
    Label.MYOCARDIAL_INFARCTION: "Myocardial infarction",
}
REASON_TEXTS: dict[Reason, str] = {
    Reason.RETIRED_CLASS: "retired kind of object",
    Reason.NO_PICTURE: "no picture and no waveform in the object",
    Reason.NOT_AN_ECG: "not an ECG",
    Reason.TOO_FEW_LEADS: "too few leads",
    Reason.BLANK: "blank",
    Reason.UNREADABLE: "unreadable",
    Reason.UPSIDE_DOWN: "upside down",
    Reason.DAMAGED: "damaged",
    Reason.ENCRYPTED: "encrypted",
    Reason.TOO_BIG: "too big",
    Reason.UNSUPPORTED_ENCODING: "encoding that is not supported",
    Reason.UNCERTAIN: "the algorithm is not certain enough to give a label",
    Reason.SUPERSEDED: "superseded by another object of the same ECG",
}


def plain(text: str) -> str:
    """A text of a model's card in ASCII: the source's character set need not have its letters."""
    return text.encode("ascii", "replace").decode().replace("\\", "/").replace("~", "-")


def percent(share: float) -> str:
    """A probability for people: one decimal."""
    return f"{100 * share:.1f} %"


def label_summary(label: Label, probabilities: tuple[float, float, float]) -> str:
    """Label and all probabilities in a line."""
    shares = "; ".join(f"{LABEL_TEXTS[one]} {percent(p)}" for one, p in zip(LABELS, probabilities, strict=True))
    return f"AI label: {LABEL_TEXTS[label]} ({shares})"


def reason_summary(reason: Reason) -> str:
    """Why there is no label."""
    return f"AI label: none, the ECG cannot be judged ({REASON_TEXTS[reason]})"
