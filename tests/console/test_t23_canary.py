"""T23: a patient's name, ID and accession number stay out of the console's log, metrics, addresses and trail.

Seen to fail with `access_log=True` and a filter by GET, and with the typed name written down at a failed login.
"""

import re
from collections.abc import Callable

from playwright.sync_api import expect

from records.audit_search import Search, export_trail
from tests.console.conftest import Site, Window, log_in
from tests.faults.objects import CANARY

Windows = Callable[[str], Window]


def test_patient_data_stays_where_it_belongs(site: Site, window: Windows) -> None:
    browser = window("administrator")
    asked: list[str] = []
    browser.page.on("request", lambda request: asked.append(request.url))
    page = browser.open("/")
    page.get_by_label("Patient ID").fill(f"{CANARY}-ID")
    page.get_by_label("Accession").fill(CANARY)
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#rows tbody tr")).to_have_count(1)
    page.locator(f"#ecg-{site.ecgs['canary']}").click()
    page.locator("summary", has_text="Header as received").click()
    expect(page.get_by_role("region", name="Header as received")).to_contain_text(CANARY)
    with site.client() as client:
        assert log_in(client, f"{CANARY}", "x" * 20).status_code == 401
        client.get(f"/ecg/{CANARY}", params={"patient": CANARY})
        open_pages = [client.get(path).text for path in ("/metrics", "/healthz", "/readyz")]
    assert not any(CANARY in url for url in asked)
    assert not any(CANARY in text for text in open_pages)
    logs = {name: site.node.log(name) for name in site.node.processes}
    assert len(logs["console"]) > 100
    assert {name for name, text in logs.items() if re.search(CANARY, text, re.IGNORECASE)} == set()
    assert not any(CANARY in str(one.details) + one.actor for one in export_trail(site.node.database, Search()))
