"""Which lead a channel holds: by its coded source first, by its name where the code is a vendor's own."""

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

Samples = NDArray[np.float32]
STANDARD_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

# CID 3001 "ECG Leads": MDC codes 2:n and SCP-ECG codes 5.6.3-9-n number the leads alike (EN 1064 Table 5)
NUMBERED = {
    **{1: "I", 2: "II", 61: "III", 62: "aVR", 63: "aVL", 64: "aVF"},
    **{2 + n: f"V{n}" for n in range(1, 7)},
}
_MDC_PARTITION = 2 << 16  # ISO/IEEE 11073-10101: ECG leads are partition 2, written 2:n or as one number
_CODE = re.compile(r"^(?:2:|5\.6\.3-9-)(\d{1,3})$")
_REFERENCE_ID = re.compile(r"^MDC_ECG_(?:ELEC_POTL|LEAD)_(\w+)$")
_NAME = re.compile(r"^(?:ECG\s+)?(?:LEAD\s+)?(III|II|I|AVR|AVL|AVF|V[1-6])(?![\w+-])", re.IGNORECASE)
# Each limb lead as a sum of I and II: Einthoven's I + III = II and Goldberger's aVR = -(I + II)/2, aVL, aVF
_LIMBS = {"I": (1, 0), "II": (0, 1), "III": (-1, 1), "aVR": (-0.5, -0.5), "aVL": (1, -0.5), "aVF": (-0.5, 1)}
_BY_UPPER = {lead.upper(): lead for lead in STANDARD_LEADS}


def lead_of(channel: Dataset) -> str | None:
    """The standard lead of a channel, or None when it is another one (Frank, right-sided, V7) or no ECG at all."""
    source = (channel.get("ChannelSourceSequence") or [Dataset()])[0]
    code = str(source.get("CodeValue") or "").strip()
    if (number := _number(code)) is not None:
        return NUMBERED.get(number)
    if named := _REFERENCE_ID.match(code):
        return _BY_UPPER.get(named[1].upper())
    for text in (code, source.get("CodeMeaning"), channel.get("ChannelLabel")):
        if found := _NAME.match(str(text or "").strip()):
            return _BY_UPPER[found[1].upper()]
    return None


def _number(code: str) -> int | None:
    if coded := _CODE.match(code):
        return int(coded[1])
    if code.isdecimal() and len(code) <= 6 and int(code) >> 16 == _MDC_PARTITION >> 16:
        return int(code) & 0xFFFF
    return None


def with_derived_limb_leads(leads: Mapping[str, Samples]) -> dict[str, Samples]:
    """All twelve leads as far as they go, in standard order: any two limb leads determine the other four."""
    known = dict(leads)
    limbs = [lead for lead in _LIMBS if lead in known][:2]
    if len(limbs) == 2:
        # Two known rows of the table, solved for I and II
        to_one_and_two = np.linalg.inv(np.array([_LIMBS[lead] for lead in limbs]))
        one, two = (to_one_and_two @ np.stack([known[lead] for lead in limbs])).astype(np.float32)
        known = {lead: np.float32(a) * one + np.float32(b) * two for lead, (a, b) in _LIMBS.items()} | known
    return {lead: known[lead] for lead in STANDARD_LEADS if lead in known}
