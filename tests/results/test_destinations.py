"""Several destinations: each gets its results in its own way, and none waits for another."""

import io
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, _config, evt
from pynetdicom.sop_class import Verification

from core.errors import BadSettings, PeerAway
from core.settings import Destination, Settings
from core.states import JobState, ReportKind
from core.values import Label
from dicom_node.heatmap import build_heatmap
from dicom_node.objects import BuiltObject
from dicom_node.report import build_sr
from dicom_node.scu import SR_CLASS_UIDS, Outgoing, Verdict, echo, send
from records.instances import record_received
from records.jobs import claim_jobs
from records.results import Answer, Route, StoredReport, record_answer
from tests.certificates import Authority, Certificate
from tests.node import Node, running_node
from tests.records.samples import answer as sample_answer
from tests.records.samples import received
from tests.results.sources import MODEL, build_source, context, findings, judgement, pictures, save_source
from tests.servers import free_port, wait_until
from worker.delivery import need_usable
from worker.files import save_result

HEATMAP_CLASS = "1.2.840.10008.5.1.4.1.1.7"


class Pacs:
    """Takes every syntax that it is told to, and keeps what it gets as bare data sets, with who sent it how."""

    def __init__(
        self, syntaxes: list[str], tls: ssl.SSLContext | None = None, gate: threading.Event | None = None
    ) -> None:
        self.held: dict[str, tuple[str, bytes, str]] = {}
        self.asked = threading.Event()
        self.port = 0
        self._syntaxes, self._tls, self._gate = syntaxes, tls, gate

    @contextmanager
    def running(self) -> Iterator["Pacs"]:
        _config.LOG_HANDLER_LEVEL = "none"
        ae = AE("PACS")
        for uid in (*SR_CLASS_UIDS.values(), HEATMAP_CLASS, Verification):
            ae.add_supported_context(uid, self._syntaxes)
        handlers = [(evt.EVT_C_STORE, self._store)]
        server = ae.start_server(("127.0.0.1", 0), block=False, ssl_context=self._tls, evt_handlers=handlers)
        self.port = server.server_address[1]
        try:
            yield self
        finally:
            if self._gate:
                self._gate.set()
            ae.shutdown()

    def _store(self, event: evt.Event) -> int:
        self.asked.set()
        if self._gate:
            self._gate.wait(60)
        uid = str(event.request.AffectedSOPInstanceUID)
        calling = event.assoc.requestor.primitive.calling_ae_title
        self.held[uid] = (str(event.context.transfer_syntax), event.request.DataSet.getvalue(), calling)
        return 0x0000

    def destination(self, **given: object) -> Destination:
        return Destination(**({"host": "127.0.0.1", "port": self.port, "ae_title": "PACS"} | given))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[BuiltObject]:
    """SR and heat map of an ECG whose name no other character set can hold."""
    source = save_source(build_source("sc", "japanese", "full"), tmp_path_factory.mktemp("source"))
    heatmap = build_heatmap(source, pictures("sc")[0], judgement(), MODEL, context())
    said = findings("sc", Label.MYOCARDIAL_INFARCTION)
    return [build_sr(source, said, [heatmap], MODEL, context(), "comprehensive3d"), heatmap]


def _outgoing(built: list[BuiltObject]) -> list[Outgoing]:
    return [
        Outgoing(one.sop_class_uid, one.sop_instance_uid, one.transfer_syntax_uid, content=one.content) for one in built
    ]


def _data_set(one: BuiltObject) -> Dataset:
    return dcmread(io.BytesIO(one.content))


# --- Transfer syntax, AE title


@pytest.mark.parametrize("wanted", ["explicit", "implicit", "rle", "jpegls", "jpeg2000"])
def test_each_transfer_syntax_brings_the_same_values(wanted: str, built: list[BuiltObject]) -> None:
    with Pacs(ALL_TRANSFER_SYNTAXES).running() as pacs:
        outcomes = send(pacs.destination(transfer_syntax=wanted), "ECGNODE", _outgoing(built), 60)
        again = dict(pacs.held)
        send(pacs.destination(transfer_syntax=wanted), "ECGNODE", _outgoing(built), 60)
    assert {outcome.verdict for outcome in outcomes} == {Verdict.DELIVERED}
    assert pacs.held == again, "a resend sends the same bytes"
    report, heatmap = (_came(pacs, one) for one in built)
    expected = {"explicit": "1.2.840.10008.1.2.1", "implicit": "1.2.840.10008.1.2", "rle": "1.2.840.10008.1.2.5"}
    expected |= {"jpegls": "1.2.840.10008.1.2.4.80", "jpeg2000": "1.2.840.10008.1.2.4.90"}
    assert heatmap.file_meta.TransferSyntaxUID == expected[wanted]
    assert report.file_meta.TransferSyntaxUID.is_compressed is False
    np.testing.assert_array_equal(heatmap.pixel_array, _data_set(built[1]).pixel_array)
    for came, one in zip((report, heatmap), built, strict=True):
        stored = _data_set(one)
        assert _raw(came, "PatientName") == _raw(stored, "PatientName")
        assert came.SOPInstanceUID == one.sop_instance_uid
        assert came.get("OtherPatientIDsSequence") == stored.get("OtherPatientIDsSequence")
    assert report.ContentSequence == _data_set(built[0]).ContentSequence


def _raw(dataset: Dataset, keyword: str) -> bytes:
    return bytes(dataset.get_item(keyword).value).rstrip()


def _came(pacs: Pacs, one: BuiltObject) -> Dataset:
    syntax, content, _calling = pacs.held[one.sop_instance_uid]
    file = io.BytesIO()
    dataset = Dataset()
    dataset.file_meta = _data_set(one).file_meta
    dataset.file_meta.TransferSyntaxUID = syntax
    from pydicom.filewriter import write_file_meta_info

    file.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(file, dataset.file_meta)
    file.write(content)
    file.seek(0)
    return dcmread(file)


def test_a_pacs_without_the_wanted_compression_gets_it_uncompressed(built: list[BuiltObject]) -> None:
    with Pacs([str(ImplicitVRLittleEndian)]).running() as pacs:
        outcomes = send(pacs.destination(transfer_syntax="jpegls"), "ECGNODE", _outgoing(built), 60)
    assert {outcome.verdict for outcome in outcomes} == {Verdict.DELIVERED}
    assert {syntax for syntax, _content, _calling in pacs.held.values()} == {str(ImplicitVRLittleEndian)}


def test_what_is_stored_is_sent_byte_for_byte(built: list[BuiltObject]) -> None:
    with Pacs([str(ExplicitVRLittleEndian)]).running() as pacs:
        send(pacs.destination(), "ECGNODE", _outgoing(built), 60)
    for one in built:
        assert one.content.endswith(pacs.held[one.sop_instance_uid][1])


def test_a_destination_may_know_us_by_another_ae_title(built: list[BuiltObject]) -> None:
    with Pacs([str(ExplicitVRLittleEndian)]).running() as pacs:
        send(pacs.destination(calling_ae_title="ECGAI"), "ECGNODE", _outgoing(built), 60)
    assert {calling for _syntax, _content, calling in pacs.held.values()} == {"ECGAI"}


# --- TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def _server_context(own: Certificate, clients: Authority | None) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(own.certificate, own.key)
    if clients:
        made.verify_mode = ssl.CERT_REQUIRED
        made.load_verify_locations(clients.certificate)
    return made


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_results_go_over_mutual_tls(authority: Authority, built: list[BuiltObject], version: ssl.TLSVersion) -> None:
    tls = _server_context(authority.sign("pacs"), authority)
    tls.minimum_version = tls.maximum_version = version
    ours = authority.sign("node")
    with Pacs(ALL_TRANSFER_SYNTAXES, tls).running() as pacs:
        to = pacs.destination(
            tls=True,
            tls_ca_file=authority.certificate,
            tls_certificate_file=ours.certificate,
            tls_key_file=ours.key,
            tls_server_name="localhost",
        )
        echo(to, "ECGNODE", 30)
        outcomes = send(to, "ECGNODE", _outgoing(built), 60)
    assert {outcome.verdict for outcome in outcomes} == {Verdict.DELIVERED}
    assert pacs.held.keys() == {one.sop_instance_uid for one in built}


def test_a_pacs_that_cannot_be_trusted_gets_nothing(
    authority: Authority, built: list[BuiltObject], tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "other", "other CA")
    with Pacs(ALL_TRANSFER_SYNTAXES, _server_context(stranger.sign("pacs"), None)).running() as pacs:
        to = pacs.destination(tls=True, tls_ca_file=authority.certificate)
        (outcome, _other) = send(to, "ECGNODE", _outgoing(built), 30)
        assert outcome.verdict is Verdict.RETRY
        assert "its certificate does not hold" in outcome.text
        wrong_name = pacs.destination(tls=True, tls_ca_file=stranger.certificate, tls_server_name="pacs.example.org")
        with pytest.raises(PeerAway, match="certificate does not hold"):
            echo(wrong_name, "ECGNODE", 30)
    assert pacs.held == {}


def test_weak_ciphers_are_not_spoken(authority: Authority) -> None:
    """Seen to fail without our list of ciphers."""
    old = _server_context(authority.sign("old"), None)
    old.set_ciphers("ECDHE-ECDSA-AES128-SHA")  # without authenticated encryption
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with Pacs(ALL_TRANSFER_SYNTAXES, old).running() as pacs:
        to = pacs.destination(tls=True, tls_ca_file=authority.certificate)
        with pytest.raises(PeerAway, match="no TLS"):
            echo(to, "ECGNODE", 30)


@pytest.mark.parametrize("broken", ["missing", "not a certificate"])
def test_a_certificate_file_that_cannot_be_used_is_refused_at_start_by_name(broken: str, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    if broken != "missing":
        path.write_text("nonsense")
    there = {"host": "pacs", "port": 104, "ae_title": "PACS", "tls": True, "tls_ca_file": path}
    with pytest.raises(BadSettings, match=r"destinations.main.tls_ca_file: .*ca.pem"):
        need_usable(Settings(destinations={"main": there}))


# --- One that is down holds up nothing else


def _record(node: Node, built: list[BuiltObject], destinations: list[str]) -> None:
    """An answered ECG whose SR and heat map go to these destinations, as a worker records it."""
    report, heatmap = built
    record_received(node.database, received())
    (job,) = claim_jobs(node.database, "w", 1, 30, 3)
    stored = [_stored(node, report, 0, "comprehensive3d"), _stored(node, heatmap, 1, "")]
    base = sample_answer()
    answer = Answer(JobState.DONE, None, base.frames, stored, MODEL, "0.1.0", base.recorded_at, {})
    kinds = frozenset(ReportKind)
    record_answer(node.database, job, answer, [Route(name, kinds, "comprehensive3d") for name in destinations])


def _stored(node: Node, one: BuiltObject, frame: int, sr_class: str) -> StoredReport:
    return StoredReport(
        one.kind,
        frame,
        sr_class,
        one.sop_class_uid,
        one.sop_instance_uid,
        one.series_instance_uid,
        one.transfer_syntax_uid,
        save_result(node.settings, one.content),
        len(one.content),
    )


def test_one_that_is_dead_slow_or_paused_holds_up_nothing_else(built: list[BuiltObject], tmp_path: Path) -> None:
    """Seen to fail with one sender for all destinations: the slow one is asked first, and the well one waits."""
    gate = threading.Event()
    with ExitStack() as stack:
        slow = stack.enter_context(Pacs(ALL_TRANSFER_SYNTAXES, gate=gate).running())
        well = stack.enter_context(Pacs(ALL_TRANSFER_SYNTAXES).running())
        paused = stack.enter_context(Pacs(ALL_TRANSFER_SYNTAXES).running())
        there = {
            "a_slow": _as_setting(slow.port),
            "b_dead": _as_setting(free_port()),
            "c_paused": _as_setting(paused.port) | {"paused": "true"},
            "d_well": _as_setting(well.port),
        }
        node = stack.enter_context(running_node(tmp_path / "node", destinations=there, send_timeout_s=120))
        _record(node, built, list(there))
        node.start("send")
        wanted = {one.sop_instance_uid for one in built}
        wait_until(lambda: well.held.keys() == wanted, 60, "the well one has its results")
        wait_until(slow.asked.is_set, 60, "the slow one was asked")
        assert slow.held == {}, "the slow one still has to answer"
        gate.set()
        wait_until(lambda: slow.held.keys() == wanted, 60, "the slow one has its results")
        assert paused.held == {}
        assert not paused.asked.is_set()


def _as_setting(port: int) -> dict[str, str]:
    return {"host": "127.0.0.1", "port": str(port), "ae_title": "PACS", "sr_class": "comprehensive3d"}
