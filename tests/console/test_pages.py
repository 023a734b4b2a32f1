"""Each page, filter and action, in a real browser, as each role uses it."""

import csv
import io
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from core.states import DeliveryState, EventKind
from core.values import NOTICE
from model.card import read_card, shipped_model_dir
from records.alerts import list_alerts
from records.audit_search import Search, search_trail
from records.deliveries import list_deliveries
from records.destinations import list_destinations
from records.worklist import Filters, list_worklist
from tests.console.conftest import PASSWORD, Site, Window, log_in
from tests.console.ecgs import EXPECTED_NAMES
from tests.e2e.ecgs import waveform

Windows = Callable[[str], Window]
PAGES = ("/", "/alerts", "/deliveries", "/model", "/system", "/audit")


def _trail_has(site: Site, kind: EventKind, **details: object) -> bool:
    found = search_trail(site.node.database, Search(kinds=[kind])).entries
    return any(all(one.details.get(key) == value for key, value in details.items()) for one in found)


def test_the_worklist_shows_urgent_ones_on_top_then_the_newest(site: Site, window: Windows) -> None:
    page = window("viewer").open("/")
    first = page.locator("table.worklist tbody tr").first
    expect(first).to_have_class("urgent")
    page.locator("tr.urgent", has_text="Urgent, Sheet").get_by_text("STAT", exact=True).wait_for()
    order = [row.ecg_id for row in list_worklist(site.node.database, Filters()).rows if not row.on_top]
    assert order == sorted(order, reverse=True)
    links = page.locator("tr:not(.urgent) a.strong").evaluate_all("all => all.map(a => a.id)")
    assert links == [f"ecg-{number}" for number in order]
    image = page.locator(f'a[href="/ecg/{site.ecgs["urgent"]}"] img')
    image.scroll_into_view_if_needed()
    page.wait_for_function("image => image.complete && image.naturalWidth === 320", arg=image.element_handle())


@pytest.mark.parametrize(
    ("name", "value", "shown", "hidden"),
    [
        ("ae", "CART4", "山田", "Muster"),
        ("state", "not_diagnostic", "Patient 7", "Muster"),
        ("label", "myocardial_infarction", "Urgent, Sheet", "Patient 7"),
        ("patient", "A-1*", "Muster, Erika", "Urgent, Sheet"),
        ("accession", "ACC2", "Muster, Erika", "Urgent, Sheet"),
        ("since", "2000-01-01", "Muster, Erika", None),
        ("until", "2000-01-01", None, "Muster"),
    ],
)
def test_a_filter_leaves_what_it_names(
    window: Windows, name: str, value: str, shown: str | None, hidden: str | None
) -> None:
    page = window("viewer").open("/")
    field = page.locator(f"#filters [name={name}]")
    if field.evaluate("field => field.tagName") == "SELECT":
        field.select_option(value)
    else:
        field.fill(value)
        page.get_by_role("button", name="Filter").click()
    rows = page.locator("#rows")
    if hidden:
        expect(rows).not_to_contain_text(hidden)
    if shown:
        expect(rows).to_contain_text(shown)
    else:
        expect(rows).to_contain_text("No ECG that matches the filters")
    assert "?" not in page.url  # no patient ID in an address


def test_a_new_ecg_appears_by_itself(site: Site, window: Windows) -> None:
    page = window("viewer").open("/")
    expect(page.locator("#rows")).not_to_contain_text("Late, Comer")
    site.node.push([waveform(PatientName="Late^Comer", PatientID="LATE")])
    expect(page.locator("#rows")).to_contain_text("Late, Comer", timeout=60_000)


@pytest.mark.parametrize("name", sorted(EXPECTED_NAMES))
def test_names_of_every_land_are_shown_right(site: Site, window: Windows, name: str) -> None:
    page = window("viewer").open("/")
    expect(page.locator(f"#ecg-{site.ecgs[name]}")).to_have_text(EXPECTED_NAMES[name])
    page.locator(f"#ecg-{site.ecgs[name]}").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(EXPECTED_NAMES[name])


def test_one_ecg_shows_picture_map_probabilities_time_line_and_trail(site: Site, window: Windows) -> None:
    page = window("viewer").open(f"/ecg/{site.ecgs['urgent']}")
    expect(page.locator(".verdict")).to_contain_text("Myocardial infarction")
    picture = page.locator(".viewer svg")
    expect(picture).to_have_attribute("aria-label", re.compile("heat map"))
    heat = page.locator("image.heat")
    for percent, opacity in (("0", "0"), ("100", "1"), ("30", "0.3")):
        page.get_by_role("slider", name="Heat map").fill(percent)
        expect(heat).to_have_attribute("opacity", opacity)
        expect(page.locator(".slider output")).to_have_text(f"{percent} %")
    for path in (heat.get_attribute("href"), page.locator(".viewer image").first.get_attribute("href")):
        assert page.request.get(f"{site.address}{path}").headers["content-type"] == "image/png"
    assert page.locator(".probability").count() == 3
    line = page.locator(".timeline")
    for word in ("Received", "Queued", "Claimed by a worker", "Judged", "0x0000 Success", "Refused"):
        expect(line).to_contain_text(word)
    expect(page.locator("main")).to_contain_text("instance received")


def test_sr_and_header_are_readable(site: Site, window: Windows) -> None:
    page = window("viewer").open(f"/ecg/{site.ecgs['first']}")
    page.locator("summary", has_text="Structured Report").click()
    report = page.get_by_role("region", name="Report as text")
    expect(report).to_contain_text(NOTICE)
    page.locator("summary", has_text="Header as received").click()
    header = page.get_by_role("region", name="Header as received")
    for text in ("Patient's Name", "Muster^Erika", "Waveform Sequence"):
        expect(header).to_contain_text(text)


def test_earlier_ecgs_of_the_patient_lead_to_them(site: Site, window: Windows) -> None:
    page = window("viewer").open(f"/ecg/{site.ecgs['second']}")
    page.locator(f'a[href="/ecg/{site.ecgs["first"]}"]').first.click()
    expect(page).to_have_url(f"{site.address}/ecg/{site.ecgs['first']}")


def test_a_cardiologist_agrees_and_disagrees_and_the_model_page_counts_it(site: Site, window: Windows) -> None:
    reader = window("cardiologist")
    page = reader.open(f"/ecg/{site.ecgs['normal']}")
    said = page.locator(".verdict .pill").inner_text()
    page.get_by_role("radio", name=f"Agree: {said}").check()
    page.get_by_role("button", name="Record my read").click()
    expect(page.locator("#reads")).to_contain_text("agrees with the model")
    page = reader.open(f"/ecg/{site.ecgs['first']}")
    page.get_by_role("radio", name="Abnormal heartbeat").check()
    page.get_by_label("Comment").fill("<b>atrial</b> fibrillation")
    page.get_by_role("button", name="Record my read").click()
    expect(page.locator("#reads")).to_contain_text("differs from the model")
    expect(page.locator("#reads")).to_contain_text("<b>atrial</b> fibrillation")
    assert _trail_has(site, EventKind.FINAL_READ_RECORDED, agrees=False)
    page = reader.open("/model")
    expect(page.locator("#agreement")).to_contain_text("1 of 2")
    page = reader.open("/")
    expect(page.locator("#rows")).not_to_contain_text("nothing")
    assert not page.locator(f"tr.urgent #ecg-{site.ecgs['normal']}").count()  # read: no longer on top


def test_the_training_manifest_names_nobody(site: Site, window: Windows) -> None:
    page = window("administrator").open("/model")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Export a training manifest").click()
    text = waiting.value.path().read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {row["agrees"] for row in rows} <= {"True", "False"}
    assert set(rows[0]) == {
        "picture_sha256",
        "frame",
        "model_label",
        "final_label",
        "agrees",
        "model_version",
        "weights_sha256",
        "probability_normal",
        "probability_abnormal_heartbeat",
        "probability_myocardial_infarction",
    }
    assert not re.search("Muster|A-100|cardiologist|fibrillation|1\\.2\\.", text)


def test_an_administrator_retries_and_gives_up_deliveries(site: Site, window: Windows) -> None:
    page = window("administrator").open("/deliveries?state=failed")
    failed = list_deliveries(site.node.database, DeliveryState.FAILED)
    one, other = failed[0].id, failed[1].id
    page.get_by_role("button", name=f"Try delivery {one} again").click()
    expect(page).to_have_url(f"{site.address}/deliveries?state=failed")
    assert _trail_has(site, EventKind.DELIVERY_RETRIED, delivery_id=one)
    row = page.locator("tr", has=page.locator(f'form[action="/deliveries/{other}/drop"]'))
    row.get_by_text("Give up", exact=True).click()
    row.get_by_label("Why?").fill("sent by hand")
    row.get_by_role("button", name=f"Give up delivery {other}").click()
    expect(page.locator(f'form[action="/deliveries/{other}/drop"]')).to_have_count(0)
    assert _trail_has(site, EventKind.DELIVERY_DROPPED, delivery_id=other, why="sent by hand")


def test_an_administrator_pauses_and_resumes_a_destination(site: Site, window: Windows) -> None:
    page = window("administrator").open("/deliveries")
    card = page.get_by_role("region", name="Destination away")
    card.get_by_text("Pause", exact=True).click()
    card.get_by_label("Why?").fill("maintenance")
    card.get_by_role("button", name="Pause away").click()
    expect(card).to_contain_text("Paused")
    assert {one.name for one in list_destinations(site.node.database) if one.paused} == {"away"}
    card.get_by_role("button", name="Resume away").click()
    expect(card).not_to_contain_text("Paused")
    assert not any(one.paused for one in list_destinations(site.node.database))


def test_an_alert_is_acknowledged_with_what_was_done(site: Site, window: Windows) -> None:
    page = window("cardiologist").open("/alerts")
    alert = next(one for one in list_alerts(site.node.database) if one.ecg_id == site.ecgs["urgent"])
    card = page.get_by_role("region", name=f"Alert {alert.alert_id}", exact=True)
    expect(card).to_contain_text("Urgent, Sheet")
    card.get_by_label("What was done?").fill("ward called")
    card.get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_role("region", name=f"Alert {alert.alert_id}", exact=True)).to_have_count(0)
    page.get_by_text("Acknowledged ones, too").click()
    expect(page.get_by_role("region", name=f"Alert {alert.alert_id}", exact=True)).to_contain_text("ward called")


def test_the_trail_is_searched_verified_and_exported(site: Site, window: Windows) -> None:
    page = window("administrator").open("/audit")
    page.get_by_role("button", name="Verify now").click()
    expect(page.locator("#verification")).to_contain_text("none changed, removed or moved")
    assert _trail_has(site, EventKind.TRAIL_VERIFIED, fault=None)
    page.locator("#search [name=kind]").select_option("instance_received")
    page.locator("#search [name=ecg]").fill(str(site.ecgs["first"]))
    page.get_by_role("button", name="Search").click()
    rows = page.locator("table.list tbody tr")
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("CART1")
    for form, first in (("CSV", "seq,at,kind"), ("JSONL", '{"seq"')):
        with page.expect_download() as waiting:
            page.get_by_role("button", name=f"Export {form}").click()
        lines = waiting.value.path().read_text(encoding="utf-8").splitlines()
        assert lines[0].startswith(first)
        assert len(lines) == (2 if form == "CSV" else 1)
    page.locator("#search [name=since]").fill("2001-01-01")
    page.locator("#search [name=until]").fill("2001-01-02")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("main")).to_contain_text("No event matches")


def test_older_events_are_a_page_away(window: Windows) -> None:
    page = window("administrator").open("/audit")
    newest = page.locator("table.list tbody tr td").first.inner_text()
    page.get_by_role("button", name="Older").click()
    expect(page.locator("table.list tbody tr td").first).not_to_have_text(newest)
    page.get_by_role("button", name="Newest").click()
    page.wait_for_url(re.compile(r"/audit"))


def test_the_system_page_names_processes_queues_disk_and_pacs(window: Windows) -> None:
    page = window("viewer").open("/system")
    for word in ("Listener", "Worker", "Sender", "Console", "Alive", "Free", "archive", "Reached", "Away", "Decoding"):
        expect(page.locator("main")).to_contain_text(word)


def test_the_model_page_names_card_weights_and_days(window: Windows) -> None:
    page = window("viewer").open("/model")
    for word in ("Weights, sha256", read_card(shipped_model_dir()).version, "Abstained", "blank"):
        expect(page.locator("main")).to_contain_text(word)


def test_light_and_dark_are_switched_and_remembered(window: Windows) -> None:
    page = window("viewer").open("/")
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Switch between light and dark").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    page.get_by_role("button", name="Switch between light and dark").click()


def test_a_keyboard_alone_opens_an_ecg_and_fades_its_map(site: Site, window: Windows) -> None:
    page = window("viewer").open("/")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.locator(f"#ecg-{site.ecgs['urgent']}").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site.address}/ecg/{site.ecgs['urgent']}")
    page.get_by_role("slider", name="Heat map").focus()
    page.keyboard.press("End")
    expect(page.locator("image.heat")).to_have_attribute("opacity", "1")


@pytest.mark.parametrize("path", PAGES)
def test_every_page_says_that_nobody_verified_the_result(window: Windows, path: str) -> None:
    page = window("administrator").open(path)
    expect(page.get_by_role("note")).to_contain_text("not verified by a physician")


def test_times_are_shown_in_the_sites_zone_and_kept_in_utc(site: Site) -> None:
    with site.logged_in("viewer") as client:
        text = client.get(f"/ecg/{site.ecgs['first']}").text
    kept = re.search(r'datetime="(\d+-\d+-\d+)T(\d+):(\d+):(\d+)[^"]*\+00:00"[^>]*>(\d+-\d+-\d+) (\d+):', text)
    assert kept is not None
    difference = (int(kept[6]) - int(kept[2])) % 24
    assert difference in (1, 2)  # Europe/Berlin


def test_roles_see_what_they_may_do(site: Site, window: Windows) -> None:
    page = window("viewer").open(f"/ecg/{site.ecgs['first']}")
    expect(page.get_by_role("button", name="Record my read")).to_have_count(0)
    expect(page.get_by_role("link", name="Audit")).to_have_count(0)
    page = window("cardiologist").open("/deliveries?state=failed")
    expect(page.get_by_role("button", name="Retry")).to_have_count(0)
    page = window("viewer").open("/alerts?all=1")
    expect(page.get_by_role("button", name="Acknowledge")).to_have_count(0)


def test_logging_out_ends_the_session_here_and_at_the_server(site: Site) -> None:
    with site.client() as client:
        log_in(client, "viewer")
        form = client.get("/system").text
        token = client.cookies["ecg_session"]
        assert client.post("/logout", data={"csrf": form.split('name="csrf" value="')[1][:64]}).status_code == 303
        client.cookies.set("ecg_session", token)
        assert client.get("/system").headers["location"].startswith("/login")
    assert PASSWORD


def test_every_look_at_an_ecg_is_in_the_trail(site: Site) -> None:
    ecg = site.ecgs["cyrillic"]

    def looks(page: str) -> int:
        found = search_trail(site.node.database, Search(kinds=[EventKind.PATIENT_DATA_VIEWED], ecg_id=ecg)).entries
        return sum(one.actor == "cardiologist" and one.details == {"page": page} for one in found)

    before = {page: looks(page) for page in ("worklist", "ecg", "header", "picture", "thumbnail")}
    with site.client() as client:
        log_in(client, "cardiologist")
        for _ in range(2):
            client.get("/")
            client.get(f"/ecg/{ecg}/thumbnail")
        client.get(f"/ecg/{ecg}")
        page = client.get(f"/ecg/{ecg}").text
        client.get(re.search(r"/ecg/\d+/job/\d+/picture/1", page)[0])  # type: ignore[index]
        client.get(f"/ecg/{ecg}/header")
    after = {page: looks(page) - count for page, count in before.items()}
    assert after == {"worklist": 1, "ecg": 2, "header": 1, "picture": 0, "thumbnail": 0}
