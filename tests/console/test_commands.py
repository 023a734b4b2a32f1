"""`ecg-node ls`, `show`, `status` and `users`, on what the shared site holds."""

import os
import subprocess
import sys
import unicodedata

import pytest

from records.accounts import find_account
from records.audit_search import Search, search_trail
from tests.conftest import ROOT
from tests.console.conftest import Site
from tests.operations.command import Commands


@pytest.fixture
def command(site: Site) -> Commands:
    made = Commands()
    made._environment |= site.node.environment
    return made


def test_ls_lists_urgent_ones_first_and_filters(command: Commands, site: Site) -> None:
    rows = command.json("ls", "--limit", 5)
    assert len(rows) == 5
    assert any(row["on_top"] for row in rows)
    (row,) = command.json("ls", "--accession", "ACC2")
    assert (row["ecg_id"], row["state"], row["patient_name"]) == (site.ecgs["second"], "done", "Muster^Erika")
    assert [row["ecg_id"] for row in command.json("ls", "--state", "not_diagnostic")] == [site.ecgs["blank"]]
    assert {row["patient_id"] for row in command.json("ls", "--patient-id", "A-*")} == {"A-100"}


def test_ls_fits_a_terminal(command: Commands) -> None:
    command._environment["COLUMNS"] = "100"
    status, said = command("ls")
    assert status == 0
    assert max(map(len, said.splitlines())) <= 100
    assert "Not verified by a physician" in " ".join(said.split())
    assert not any(unicodedata.category(one) in ("Cc", "Cf") for one in said.replace("\n", ""))


def test_show_tells_everything_of_one_ecg(command: Commands, site: Site) -> None:
    found = command.json("show", site.ecgs["first"])
    uid = found["instance"]["sop_instance_uid"]
    assert command.json("show", uid)["instance"] == found["instance"]
    assert found["jobs"][0]["classifications"][0]["label"]
    assert {row["destination"] for row in found["jobs"][0]["deliveries"]} == {"archive", "refusing", "away"}
    status, said = command("show", uid)
    assert status == 0
    for text in ("Muster, Erika (A-100)", "instance_received", "Accepted", "Not verified"):
        assert text in said


def test_show_of_an_unknown_uid_says_where_to_look(command: Commands) -> None:
    assert command("show", "1.2.3") == (1, "there is no ECG 1.2.3; `ecg-node ls` lists what there is")


def test_looks_in_a_terminal_are_in_the_trail(command: Commands, site: Site) -> None:
    command("show", site.ecgs["arabic"])
    newest = search_trail(site.node.database, Search(ecg_id=site.ecgs["arabic"])).entries[0]
    assert newest.kind == "patient_data_viewed"
    assert newest.actor.startswith("cli:")


def test_status_counts_and_names_the_processes(command: Commands, site: Site) -> None:
    found = command.json("status")
    assert found["counts"]["jobs"]["done"] >= len(site.ecgs) - 1
    assert {one["kind"] for one in found["processes"]} == {"listen", "work", "send", "console"}


def test_an_account_is_added_changed_listed_and_disabled(command: Commands, site: Site) -> None:
    database = site.node.database
    file = site.node.folder / "password"
    file.write_text("a good long password\n", encoding="utf-8")
    assert command("users", "add", "Berta", "--role", "cardiologist", "--password-file", file)[0] == 0
    first = find_account(database, "berta")
    assert first is not None
    assert first.password_hash.startswith("$argon2id$")
    assert command("users", "add", "berta", "--password-file", file)[0] == 1
    given = {"env": {**os.environ, **site.node.environment}, "cwd": ROOT, "input": b"another good password\n"}
    asked = [sys.executable, "-m", "cli", "users", "passwd", "berta", "--password-file", "-"]
    assert subprocess.run(asked, timeout=90, check=True, **given)
    assert find_account(database, "berta").password_hash != first.password_hash  # type: ignore[union-attr]
    assert command("users", "disable", "berta")[0] == 0
    assert "disabled" in next(line for line in command("users", "ls")[1].splitlines() if "berta" in line)
    kinds = [one.kind for one in search_trail(database, Search(), limit=20).entries]
    assert {"account_added", "password_changed", "account_disabled"} <= set(kinds)


@pytest.mark.parametrize("password", ["short", "x" * 300, "carla-carla1"])
def test_a_password_that_is_too_easy_is_refused(command: Commands, site: Site, password: str) -> None:
    file = site.node.folder / "password"
    file.write_text(password, encoding="utf-8")
    status, said = command("users", "add", "carla", "--password-file", file)
    assert status == 1
    assert "password" in said
    assert find_account(site.node.database, "carla") is None


@pytest.mark.parametrize("name", ["", "-x", "a b", "x" * 65, "ä", "<b>"])
def test_a_name_that_is_none_is_refused(command: Commands, site: Site, name: str) -> None:
    file = site.node.folder / "password"
    file.write_text("a good long password", encoding="utf-8")
    assert command("users", "add", "--password-file", file, "--", name)[0] == 1
