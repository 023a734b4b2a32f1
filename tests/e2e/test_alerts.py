"""An alert leaves a real sender, through receivers that are down, say no, or break off."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from sqlalchemy import select

from core.states import NotificationState
from core.values import Label
from records.alerts import list_alerts, list_notifications
from records.instances import record_received
from records.jobs import claim_jobs
from records.results import record_answer
from records.tables import Notification
from tests.certificates import Authority
from tests.conftest import ROOT
from tests.node import Node, running_node
from tests.records.samples import answer, received
from tests.servers import free_port, wait_until
from tests.worker.receivers import CUT, Hl7Script, WebService, running_hl7_receiver, running_web_service

NAME = "Yamada^Tarou=山田^太郎=やまだ^たろう"


def _suspect_infarction(node: Node) -> None:
    record_received(node.database, received(patient_name=NAME, patient_id="P1", accession_number="ACC1"))
    (job,) = claim_jobs(node.database, "w", 1, 30, 3)
    said = answer(Label.MYOCARDIAL_INFARCTION)
    frame = replace(said.frames[0], probabilities=(0.1, 0.03, 0.87))
    record_answer(node.database, job, replace(said, frames=[frame]), [])


def _command(node: Node, *words: str) -> str:
    environment = {**os.environ, **node.environment, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "cli", *words]
    return subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def _states(node: Node) -> dict[str, str]:
    with node.database.reading() as session:
        return {row.channel: row.state for row in session.scalars(select(Notification))}


def test_an_alert_reaches_receivers_that_were_down_or_said_no_once_each_has_taken_it(tmp_path: Path) -> None:
    secret, hl7_port, service = tmp_path / "secret", free_port(), WebService(503, 302)
    secret.write_text("a secret of the hospital")
    with running_web_service(service) as web_port:
        channels = {
            "webhooks": {"pager": {"url": f"http://127.0.0.1:{web_port}/", "secret_file": str(secret)}},
            "hl7_receivers": {"ris": {"host": "127.0.0.1", "port": hl7_port, "application": "RIS"}},
        }
        with running_node(tmp_path / "node", "send", **channels, retry_most_s=0.4) as node:
            _suspect_infarction(node)
            (alert,) = wait_until(lambda: list_alerts(node.database), 60, "the alert is raised")

            def tried() -> bool:
                rows = {row.channel: row for row in list_notifications(node.database, alert.alert_id)}
                return bool(rows["hl7:ris"].last_error)

            wait_until(tried, 60, "the receiver that is down was called")
            script = Hl7Script(CUT, "AE")
            with running_hl7_receiver(script, hl7_port):
                wait_until(lambda: set(_states(node).values()) == {NotificationState.SENT}, 90, "both have taken it")
            assert len(script.received) == 3
            assert {message.split("|")[9] for message in script.received} == {script.received[0].split("|")[9]}
            assert all("山田^太郎" in one.oru_r01_patient_result.to_er7() for one in script.parsed())
            assert len(service.received) == 3
            assert len({json.loads(body)["message_id"] for _headers, body in service.received}) == 1
            assert NAME.split("^")[0] not in node.log("send")
            (shown,) = json.loads(_command(node, "alerts", "ls", "--json"))
            assert (shown["alert_id"], shown["patient_name"]) == (alert.alert_id, NAME)
            assert "acknowledged" in _command(node, "alerts", "ack", str(alert.alert_id), "--why", "seen")
            assert list_alerts(node.database) == []


def test_receivers_over_tls_are_told_once_their_certificate_holds(tmp_path: Path) -> None:
    """Each first shows a certificate that another authority signed: it is told nothing, and tried again."""
    hospital, stranger = Authority(tmp_path / "hospital"), Authority(tmp_path / "stranger", "another CA")
    secret, ours, ports = tmp_path / "secret", hospital.sign("node"), (free_port(), free_port())
    secret.write_text("a secret of the hospital")
    trusted = {"ca_file": hospital.certificate}
    shown = {"certificate_file": ours.certificate, "key_file": ours.key}
    channels = {
        "webhooks": {"pager": {"url": f"https://127.0.0.1:{ports[0]}/", "secret_file": secret, **trusted}},
        "hl7_receivers": {"ris": {"host": "127.0.0.1", "port": ports[1], **trusted, **shown}},
    }
    service, script = WebService(), Hl7Script()

    def serving(authority: Authority) -> ExitStack:
        stack, tls = ExitStack(), authority.sign("receiver").serving(clients=hospital.certificate)
        web = authority.sign("web").serving()
        stack.enter_context(running_web_service(service, ("127.0.0.1", ports[0]), web))
        stack.enter_context(running_hl7_receiver(script, ports[1], tls))
        return stack

    with running_node(tmp_path / "node", "send", **channels, retry_most_s=0.4) as node:
        with serving(stranger):
            _suspect_infarction(node)
            (alert,) = wait_until(lambda: list_alerts(node.database), 60, "the alert is raised")

            def refused() -> bool:
                rows = list_notifications(node.database, alert.alert_id)
                return all("its certificate does not hold" in (row.last_error or "") for row in rows)

            wait_until(refused, 60, "both were turned down")
            assert service.received == script.received == []
            (shown_alert,) = json.loads(_command(node, "alerts", "ls", "--json"))
            assert [one["receiver"] for one in shown_alert["told"]] == ["hl7:ris", "webhook:pager"]
            assert all("does not hold" in one["why"] for one in shown_alert["told"])
            assert "certificate" in _command(node, "alerts", "ls")
        with serving(hospital):
            wait_until(lambda: set(_states(node).values()) == {NotificationState.SENT}, 90, "both have taken it")
    assert (len(service.received), len(script.received)) == (1, 1)
