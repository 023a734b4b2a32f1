"""axe-core finds nothing serious on any page, light or dark."""

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext

from tests.console.conftest import Site

GRAVE = {"serious", "critical"}
PAGES = ("/", "/ecg/{ecg}", "/alerts?all=1", "/deliveries", "/model", "/system", "/audit")


def _grave(page: Any) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {node['target']} {node['any'][0]['message'] if node['any'] else ''}"
        for one in found
        if one["impact"] in GRAVE
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(logins: Callable[[str], BrowserContext], site: Site, scheme: Any) -> None:
    page = logins("administrator").new_page()
    page.emulate_media(color_scheme=scheme)
    found = {}
    for path in PAGES:
        page.goto(f"{site.address}{path.format(ecg=site.ecgs['urgent'])}")
        found[path] = _grave(page)
    page.close()
    assert {path: grave for path, grave in found.items() if grave} == {}


def test_axe_finds_nothing_serious_where_a_read_is_recorded(
    logins: Callable[[str], BrowserContext], site: Site
) -> None:
    page = logins("cardiologist").new_page()
    page.goto(f"{site.address}/ecg/{site.ecgs['urgent']}")
    page.locator("summary", has_text="Structured Report").click()
    page.get_by_role("region", name="Report as text").wait_for()
    found = _grave(page)
    page.close()
    assert found == []


def test_axe_finds_nothing_serious_on_the_login(browser: Browser, site: Site) -> None:
    page = browser.new_page()
    page.goto(f"{site.address}/login")
    found = _grave(page)
    page.close()
    assert found == []
