"""Makes docs/images from ECGs drawn by code: `python -m tests.console.make_pictures`."""

import tempfile
from contextlib import ExitStack
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from console.passwords import Passwords
from core.roles import Role
from records.accounts import add_account
from tests.browsers import CHROMIUM
from tests.conftest import ROOT
from tests.console.conftest import PASSWORD
from tests.console.ecgs import UTF8, drawn_sheet
from tests.e2e.ecgs import waveform
from tests.faults.objects import small_object
from tests.node import Node, running_node
from tests.worker.scripted_pacs import ScriptedPacs

IMAGES = ROOT / "docs" / "images"
PEOPLE = [
    ("Okafor^Chidi", "K-20417", 64.0, 0.0, ""),
    ("Yamada^Tarou=山田^太郎", "K-20398", 82.0, 0.0, ""),
    ("Lindqvist^Astrid", "K-18822", 104.0, 0.0, ""),
    ("Иванова^Анна", "K-20411", 58.0, 0.0, ""),
    ("Haddad^Layla=حداد^ليلى", "K-20415", 71.0, 0.0, ""),
    ("Marlow^Philip", "K-20420", 88.0, 0.7, "chest pain"),
]
PAGES = {"worklist": "/", "deliveries": "/deliveries", "alerts": "/alerts", "audit": "/audit", "model": "/model"}


def main() -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pacs = stack.enter_context(ScriptedPacs([0xA900]).running())
        there = {"host": "127.0.0.1", "port": pacs.port, "ae_title": "PACS", "sr_class": "comprehensive"}
        kinds = ("send", "work", "console", "listen")
        given = {"demo": "true", "stat_study_description": "chest pain", "console_port": 0, "installation": "Ward 3"}
        node = stack.enter_context(running_node(folder / "node", *kinds, destinations={"archive": there}, **given))
        ecg_id = _push(node)
        hashed = Passwords().hash(PASSWORD)
        for role in Role:
            add_account(node.database, role.value, role, hashed, "pictures")
        browser = stack.enter_context(sync_playwright()).chromium.launch(
            executable_path="/usr/bin/chromium", args=CHROMIUM
        )
        address = f"http://127.0.0.1:{node.port('console')}"
        page = _logged_in(browser.new_context(viewport={"width": 1280, "height": 800}).new_page(), address)
        _read_one(page, f"{address}/ecg/{ecg_id - 2}")
        for name, path in {**PAGES, "ecg": f"/ecg/{ecg_id}"}.items():
            _shoot(page, f"{address}{path}", name)
        dark = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="dark").new_page()
        _shoot(_logged_in(dark, address), f"{address}/ecg/{ecg_id}", "ecg-dark")
        browser.close()


def _push(node: Node) -> int:
    node.push([small_object(1)], "CART1")
    last = waveform(PatientName="Sample^Waveform", PatientID="K-20001", SpecificCharacterSet=UTF8)
    node.push([last], "CART2")
    for seed, (name, patient, rate, injury, described) in enumerate(PEOPLE, start=1):
        values = {"PatientName": name, "PatientID": patient, "AccessionNumber": f"A{7000 + seed}"}
        last = drawn_sheet(rate, injury, seed, StudyDescription=described or "12-lead ECG", **values)
        node.push([last], f"CART{1 + seed % 3}")
    return node.wait_delivered(last.sop_instance_uid).ecg_id


def _logged_in(page: Page, address: str) -> Page:
    page.goto(f"{address}/login")
    page.get_by_label("Name").fill("administrator")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{address}/")
    return page


def _read_one(page: Page, url: str) -> None:
    context = page.context.browser
    assert context is not None
    reader = context.new_page()
    reader.goto(url.rsplit("/ecg", 1)[0] + "/login")
    reader.get_by_label("Name").fill("cardiologist")
    reader.get_by_label("Password").fill(PASSWORD)
    reader.get_by_role("button", name="Log in").click()
    reader.goto(url)
    reader.get_by_role("radio", name="Agree").check()
    reader.get_by_role("button", name="Record my read").click()
    reader.close()


def _shoot(page: Page, url: str, name: str) -> None:
    page.goto(url)
    page.wait_for_load_state("networkidle")
    path = IMAGES / f"{name}.png"
    page.screenshot(path=path)
    # 256 colours show these pages as well and make them a third as large
    Image.open(path).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
