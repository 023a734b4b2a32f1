"""T41: clients of other authors echo and store, in each transfer syntax, with many contexts and small PDUs.

Seen to fail with a class and with a syntax taken out of dicom_node/contexts.py.
"""

import subprocess
from collections.abc import Iterator
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from sqlalchemy import func, select

from dicom_node.contexts import STORAGE_CLASSES, ObjectKind, transfer_syntaxes_of
from records.tables import Instance
from tests.conftest import ROOT, need_tool
from tests.faults.objects import ecg_object, small_object
from tests.intake.image_objects import Format, build_image, convert, ecg_like, save
from tests.node import Node, running_node
from tests.orthanc import Orthanc
from tests.servers import wait_until
from tests.tally import Report

COLOUR = Format("colour", "RGB", 8, 8)
GREY16 = Format("grey16", "MONOCHROME2", 16, 12)
NPM = Path("/opt/ecg-node-tools/node_modules")
DCMJS = ROOT / "tests" / "faults" / "dcmjs_client.cjs"
# storescu's option for a syntax, and how an object in it is made
SYNTAXES = {
    "implicit": ("-xi", ("dcmconv", "+ti"), COLOUR),
    "explicit": ("-xe", ("dcmconv", "+te"), COLOUR),
    "big_endian": ("-xb", ("dcmconv", "+tb"), COLOUR),
    "jpeg_baseline": ("-xy", ("dcmcjpeg", "+eb"), COLOUR),
    "jpeg_extended": ("-xx", ("dcmcjpeg", "+ee"), GREY16),
    "jpeg_lossless_sv1": ("-xs", ("dcmcjpeg", "+e1"), COLOUR),
    "jpeg_ls": ("-xt", ("dcmcjpls", "+el"), COLOUR),
    "jpeg_ls_near": ("-xu", ("dcmcjpls", "+en"), COLOUR),
    "jpeg_2000_lossless": ("-xv", ("gdcmconv", "--j2k"), COLOUR),
    "jpeg_2000": ("-xw", ("gdcmconv", "--j2k", "--lossy"), COLOUR),
    "rle": ("-xr", ("dcmcrle",), COLOUR),
}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with running_node(tmp_path_factory.mktemp("node"), "listen", max_associations=100) as running:
        yield running


def _run(*words: object) -> None:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def _kept(node: Node, uid: str) -> Instance | None:
    with node.database.reading() as session:
        return session.scalars(select(Instance).where(Instance.sop_instance_uid == uid)).one_or_none()


def _plain(folder: Path, format_: Format = COLOUR) -> Path:
    return save(build_image(format_, ecg_like(format_)), folder / "plain.dcm")


def _is_kept(node: Node, file: Path) -> Instance:
    uid = str(pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID)
    row: Instance = wait_until(lambda: _kept(node, uid), 60, f"{file.name} is on record")
    return row


@pytest.mark.parametrize("name", SYNTAXES)
def test_dcmtk_stores_in_each_transfer_syntax_and_the_bytes_are_kept(name: str, node: Node, tmp_path: Path) -> None:
    option, made, format_ = SYNTAXES[name]
    encoded = tmp_path / f"{name}.dcm"
    assert convert(_plain(tmp_path, format_), encoded, *made)
    _run(need_tool("storescu"), option, "-aec", "ECGNODE", "127.0.0.1", node.port(), encoded)
    row = _is_kept(node, encoded)
    sent, kept = pydicom.dcmread(encoded), pydicom.dcmread(node.folder / row.path)
    assert row.transfer_syntax_uid == sent.file_meta.TransferSyntaxUID
    assert sha256(kept.PixelData).hexdigest() == sha256(sent.PixelData).hexdigest()
    assert kept.to_json() == sent.to_json()


def test_dcmtk_proposes_128_contexts_and_small_pdus(node: Node, tmp_path: Path) -> None:
    _run(need_tool("echoscu"), "-aec", "ECGNODE", "-ppc", 128, "-pts", 10, "127.0.0.1", node.port())
    _run(need_tool("echoscu"), "-aec", "ECGNODE", "--max-pdu", 4096, "--repeat", 20, "127.0.0.1", node.port())
    plain = _plain(tmp_path)
    _run(need_tool("storescu"), "-aec", "ECGNODE", "--max-pdu", 4096, "127.0.0.1", node.port(), plain)
    _is_kept(node, plain)


def test_gdcm_stores(node: Node, tmp_path: Path) -> None:
    """Its program ends itself with an exception of its own after what it was asked to do: what arrived counts."""
    plain = _plain(tmp_path)
    words = ["--store", "--call", "ECGNODE", "127.0.0.1", str(node.port()), str(plain)]
    subprocess.run([need_tool("gdcmscu"), *words], capture_output=True, timeout=120)
    _is_kept(node, plain)


def test_ctn_echoes_and_stores(node: Node, tmp_path: Path) -> None:
    _run(need_tool("dicom_echo"), "-c", "ECGNODE", "127.0.0.1", node.port())
    implicit = tmp_path / "implicit.dcm"
    assert convert(_plain(tmp_path), implicit, "dcmconv", "+ti")
    tool = need_tool("send_image")
    _run(tool, "-q", "-r", "-c", "ECGNODE", "-s", "SC", "127.0.0.1", node.port(), implicit)
    _is_kept(node, implicit)


def test_odil_echoes_and_stores(node: Node, tmp_path: Path) -> None:
    tool, where = need_tool("odil"), ("127.0.0.1", node.port(), "ODIL", "ECGNODE")
    _run(tool, "echo", *where)
    plain = _plain(tmp_path)
    _run(tool, "store", *where, plain)
    _is_kept(node, plain)


def test_dcmjs_echoes_and_stores(node: Node, tmp_path: Path) -> None:
    if not (NPM / "dcmjs-dimse").exists():
        need_tool("dcmjs-dimse")
    plain = _plain(tmp_path)
    _run(need_tool("node"), DCMJS, NPM, node.port(), plain)
    _is_kept(node, plain)


def _of_class(sop_class_uid: str, kind: ObjectKind) -> Dataset:
    """A small object of a class, with the content that its kind must have."""
    made = ecg_object() if kind is ObjectKind.WAVEFORM else small_object()
    one = pydicom.dcmread(BytesIO(made.content or b""))
    one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = sop_class_uid
    one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    if kind is ObjectKind.PDF:
        del one.PixelData
        one.EncapsulatedDocument, one.MIMETypeOfEncapsulatedDocument = b"%PDF-1.4\n%%EOF \n", "application/pdf"
    return one


def test_orthanc_sends_every_class_in_one_job_that_does_not_stop(node: Node, orthanc: Orthanc, tally: Report) -> None:
    objects = [_of_class(uid, kind) for uid, (_name, kind) in STORAGE_CLASSES.items()]
    for one in objects:
        buffer = BytesIO()
        one.save_as(buffer, enforce_file_format=True)
        orthanc.upload(buffer.getvalue())
    orthanc.add_modality("node", "ECGNODE", node.port())
    assert orthanc.echo("node")
    answer = orthanc.store("node", *(str(one.SOPInstanceUID) for one in objects))
    assert answer.is_success, answer.text
    for one in objects:
        row = _kept(node, one.SOPInstanceUID)
        assert row is not None, one.SOPClassUID.name
        assert pydicom.dcmread(node.folder / row.path).to_json() == one.to_json()
    tally("T41", cases=len(objects))


def test_the_table_of_syntaxes_is_tried_whole() -> None:
    """Every syntax that is accepted for pictures is sent by DCMTK above, but the one that storescu cannot propose."""
    accepted = set(transfer_syntaxes_of("1.2.840.10008.5.1.4.1.1.7"))
    jpeg_lossless_any_predictor = "1.2.840.10008.1.2.4.57"
    assert len(accepted - {jpeg_lossless_any_predictor}) == len(SYNTAXES)


def test_nothing_was_kept_twice(node: Node) -> None:
    with node.database.reading() as session:
        rows = session.scalar(select(func.count()).select_from(Instance))
        uids = session.scalar(select(func.count(Instance.sop_instance_uid.distinct())))
    assert rows == uids
