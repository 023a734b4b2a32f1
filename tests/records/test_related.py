"""Objects of one ECG find each other by study, patient and the second of acquisition."""

import pytest

from core.states import JobState
from records.database import Database
from records.instances import record_received
from records.related import find_related
from tests.records.samples import received

TIME = "20260102030405"


def _record(database: Database, **changes: object) -> int:
    given = {"acquisition_datetime": TIME, "patient_id": "P1"} | changes
    return record_received(database, received(**given)).ecg_id


def test_objects_of_one_study_and_second_belong_together(database: Database) -> None:
    waveform = _record(database, sop_class_uid="1.2.840.10008.5.1.4.1.1.9.1.1")
    pdf = _record(database, acquisition_datetime=f"{TIME}.250000&ZZXX", series_instance_uid="1.2.5")
    (found,) = find_related(database, pdf) or []
    assert (found.ecg_id, found.sop_class_uid) == (waveform, "1.2.840.10008.5.1.4.1.1.9.1.1")
    assert (found.study_instance_uid, found.state) == ("1.2.3", JobState.QUEUED)
    assert [one.ecg_id for one in find_related(database, waveform) or []] == [pdf]


@pytest.mark.parametrize(
    "changes",
    [
        {"acquisition_datetime": "20260102030406"},
        {"acquisition_datetime": ""},
        {"study_instance_uid": "1.2.9"},
        {"patient_id": "P2"},
    ],
    ids=str,
)
def test_another_time_study_or_patient_is_another_ecg(changes: dict[str, object], database: Database) -> None:
    one = _record(database)
    _record(database, **changes)
    assert find_related(database, one) == []


@pytest.mark.parametrize("when", ["", "20260102", "202601020304"])
def test_without_a_time_to_the_second_nobody_can_tell(when: str, database: Database) -> None:
    one = _record(database, acquisition_datetime=when)
    _record(database, acquisition_datetime=when)
    assert find_related(database, one) is None


def test_what_is_kept_as_a_conflict_is_no_second_object(database: Database) -> None:
    one = _record(database)
    other = received(acquisition_datetime=TIME, patient_id="P1", sop_instance_uid="1.2.77")
    record_received(database, other)
    _record(database, sop_instance_uid="1.2.77")
    assert len(find_related(database, one) or []) == 1
