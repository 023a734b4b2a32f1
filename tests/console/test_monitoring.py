"""Metrics, health and alert rules, as Prometheus's own tool reads them."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from core.settings import Settings
from tests.conftest import ROOT, need_tool
from tests.console.conftest import Site
from tests.console.serving import served
from tests.servers import running_postgresql, wait_until

Make = Callable[..., Settings]
RULES = ROOT / "docs" / "operations" / "alerts.yml"
PAGE = ROOT / "docs" / "operations" / "console.md"


@pytest.fixture(scope="module")
def metrics(site: Site) -> str:
    with site.client() as client:
        return client.get("/metrics").text


def _value(metrics: str, line: str) -> float:
    return float(next(one for one in metrics.splitlines() if one.startswith(line)).rsplit(" ", 1)[1])


def _action(rule: str) -> str:
    return re.search(rf"(?s){rule}\n.*?action: (.*?)\n", RULES.read_text(encoding="utf-8"))[1]  # type: ignore[index]


def _names(metrics: str) -> set[str]:
    return set(re.findall(r"(?m)^(ecg_node_\w+)", metrics))


def test_promtool_accepts_the_metrics(metrics: str) -> None:
    ran = subprocess.run(
        [need_tool("promtool"), "check", "metrics"], input=metrics, capture_output=True, text=True, timeout=60
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_promtool_accepts_the_rules() -> None:
    ran = subprocess.run(
        [need_tool("promtool"), "check", "rules", str(RULES)], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_rule_is_about_a_metric_that_there_is(metrics: str) -> None:
    text = RULES.read_text(encoding="utf-8")
    asked = set(re.findall(r"ecg_node_\w+", "\n".join(re.findall(r"expr: (.*)", text))))
    assert asked
    assert asked <= _names(metrics)
    assert text.count("- alert:") == text.count("action:")


def test_the_page_on_monitoring_names_every_metric(metrics: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert {name for name in _names(metrics) if f"`{name}`" not in page} == set()


def test_a_rule_fires_when_the_trail_is_broken(tmp_path: Path) -> None:
    """`promtool test rules` runs the rules on made-up series."""
    test = tmp_path / "test.yml"
    test.write_text(
        f"""
rule_files: [{RULES}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: ecg_node_trail_verified
        values: "1 1 0 0"
      - series: ecg_node_destination_failures{{destination="archive"}}
        values: "9x10"
      - series: ecg_node_destination_paused{{destination="archive"}}
        values: "0x10"
    alert_rule_test:
      - {{eval_time: 1m, alertname: EcgNodeTrailBroken, exp_alerts: []}}
      - eval_time: 3m
        alertname: EcgNodeTrailBroken
        exp_alerts:
          - exp_labels: {{severity: critical}}
            exp_annotations:
              summary: The audit trail was changed, cut or reordered.
              action: {_action("EcgNodeTrailBroken")}
""",
        encoding="utf-8",
    )
    ran = subprocess.run(
        [need_tool("promtool"), "test", "rules", str(test)], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_metrics_count_what_there_is(metrics: str, site: Site) -> None:
    assert _value(metrics, 'ecg_node_received_total{disposition="accepted"}') >= len(site.ecgs)
    assert _value(metrics, 'ecg_node_jobs{state="not_diagnostic"}') == 1
    assert _value(metrics, 'ecg_node_deliveries{destination="refusing",state="failed"}') > 0
    assert _value(metrics, 'ecg_node_delivery_statuses{destination="refusing",status="0xA900"}') > 0
    assert _value(metrics, 'ecg_node_destination_failures{destination="away"}') > 0
    assert _value(metrics, 'ecg_node_delivery_age_seconds{destination="away"}') > 0
    assert _value(metrics, "ecg_node_trail_verified ") == 1
    assert _value(metrics, 'ecg_node_step_seconds{share="0.5",step="decode"}') > 0
    assert _value(metrics, 'ecg_node_alerts_open{kind="undelivered"}') >= 1


def test_readiness_names_each_dependency_and_who_is_away(site: Site) -> None:
    with site.client() as client:
        assert client.get("/healthz").text == "ok\n"
        assert client.get("/readyz").json() == {
            "status": "ok",
            "dependencies": dict.fromkeys(["database", "disk", "listen", "work", "send"], "ok"),
        }


def test_a_console_alone_is_ready_and_says_what_is_missing(make_settings: Make) -> None:
    with served(make_settings()) as console, console.client() as client:
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
        assert answer.json()["dependencies"]["work"] == "not running"
    with served(make_settings(disk_reserve_bytes=1 << 60)) as console, console.client() as client:
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["status"]) == (503, "not ready")
        assert "nothing is accepted" in answer.json()["dependencies"]["disk"]


def test_pages_say_so_when_the_database_is_away(make_settings: Make) -> None:
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    with running_postgresql(folder) as server:
        settings = make_settings(database_url=server.make_database(), database_timeout_s=2.0)
        with served(settings) as console, console.client() as client:
            assert client.get("/readyz").status_code == 200
            server.control("-m", "immediate", "stop")
            answer = client.get("/readyz")
            assert answer.status_code == 503
            assert "does not answer" in answer.json()["dependencies"]["database"]
            assert client.get("/", headers={"Cookie": "ecg_session=" + "x" * 43}).status_code == 503
            assert client.get("/metrics").status_code == 503
            assert client.get("/healthz").status_code == 200
            server.control("start")
            wait_until(lambda: client.get("/readyz").status_code == 200, 60, "the console is ready again")
    shutil.rmtree(folder, ignore_errors=True)
