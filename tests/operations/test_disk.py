"""Below its reserve the disk takes nothing more, and nothing is deleted to make room."""

from collections.abc import Callable
from pathlib import Path

from pydicom.data import get_testdata_file

from core.files import free_bytes
from core.settings import Destination, Settings
from core.wakeup import Wakeup
from dicom_node.listener import Listener
from dicom_node.scu import SendOutcome, send
from dicom_node.wrap import outgoing_of
from records.database import Database, open_database
from records.migrate import migrate
from records.queries import find_summary

ECG = Path(str(get_testdata_file("waveform_ecg.dcm")))


def _push(settings: Settings, database: Database) -> SendOutcome:
    wakeup = Wakeup(settings)
    listener = Listener(settings, database, wakeup)
    try:
        node = Destination(host="127.0.0.1", port=listener.start(), ae_title=settings.ae_title)
        (outcome,) = send(node, "CART", [outgoing_of(ECG)], 20.0)
        return outcome
    finally:
        listener.stop()
        wakeup.close()


def _files(settings: Settings) -> set[Path]:
    return {path for path in (settings.data_dir / "received").rglob("*") if path.is_file()}


def test_below_the_reserve_a_sender_is_told_to_come_again_and_what_is_kept_stays(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings(disk_reserve_fraction=0.0)
    free, _whole = free_bytes(settings.data_dir)
    low = make_settings(disk_reserve_bytes=2 * free)
    database = open_database(settings)
    migrate(database)
    kept = settings.data_dir / "received" / "kept.dcm"
    kept.parent.mkdir()
    kept.write_bytes(b"an ECG of last year")
    assert _push(low, database).status == 0xA700
    assert _files(settings) == {kept}
    assert find_summary(database, outgoing_of(ECG).sop_instance_uid) is None
    assert _push(settings, database).status == 0x0000, "the same ECG, when there is room again"
    assert len(_files(settings)) == 2
    database.close()
