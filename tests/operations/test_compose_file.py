"""docker-compose.yml and its images say what the node needs and nothing that a hospital could not run."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from core.settings import Settings
from tests.conftest import ROOT
from tests.operations.compose import FILE, TLS_FILE, compose_text, names, read_compose, services, with_tls

SERVICES = services()
OURS = {name: one for name, one in SERVICES.items() if one["image"].startswith("ecg-node")}
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))


def test_the_file_follows_the_compose_specification() -> None:
    PyCompose.from_yaml(compose_text()).validate()


def test_a_file_that_does_not_is_found_out() -> None:
    with pytest.raises(ValueError, match="restart"):
        PyCompose.from_yaml(compose_text().replace("restart: unless-stopped", "restart: sometimes")).validate()


@pytest.mark.parametrize("kind", ["secrets", "configs", "networks", "volumes", "depends_on"])
def test_what_a_service_names_is_there(kind: str) -> None:
    whole = read_compose()
    known = set(whole["services"] if kind == "depends_on" else whole[kind])
    used = set()
    for service in SERVICES.values():
        listed = service.get(kind, [])
        used |= {one.split(":", 1)[0] for one in listed} if kind == "volumes" else set(names(list(listed)))
    assert used <= known
    if kind != "depends_on":
        assert known == used, "nothing is declared that no service uses"


def test_every_mounted_file_is_in_the_repository_or_made_by_the_script(tmp_path: Path) -> None:
    whole = read_compose()
    for config in whole["configs"].values():
        assert (ROOT / config["file"]).is_file()
    subprocess.run([ROOT / "docker" / "make-secrets.sh", tmp_path], check=True, stdout=subprocess.DEVNULL)
    made = {path.name for path in tmp_path.iterdir()}
    assert {Path(secret["file"]).name for secret in whole["secrets"].values()} == made
    assert all(Path(secret["file"]).parent == Path("secrets") for secret in whole["secrets"].values())


def test_secrets_are_made_by_chance_and_never_twice(tmp_path: Path) -> None:
    make = [ROOT / "docker" / "make-secrets.sh"]
    for name in ("one", "two"):
        subprocess.run([*make, tmp_path / name], check=True, stdout=subprocess.DEVNULL)
    first = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert all(first[name] != (tmp_path / "two" / name).read_bytes() for name in first)
    subprocess.run([*make, tmp_path / "one"], check=True, stdout=subprocess.DEVNULL)
    assert {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()} == first
    assert stat.S_IMODE(os.stat(tmp_path / "one").st_mode) == 0o700
    password = first["postgres_password"].decode()
    assert len(password) == 48
    assert password in first["database_url"].decode()
    assert first["redis_password"].decode() in first["broker_url"].decode()


def test_no_password_stands_in_the_file() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert re.findall(r"(?i)(?:password|key|secret)\w*: *[\"']?(?!/run/secrets/)\w{3,}", text) == []
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|_URL|_KEY", name):
                assert value.startswith("/run/secrets/"), name


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"].split(":")[0] not in {"0", "root"}
    assert ":" in service["image"], "an image without a tag changes by itself"
    assert not {"privileged", "network_mode", "pid", "cap_add", "devices"} & set(service)
    if name != "migrate":
        assert service["restart"] == "unless-stopped"
        assert {"test", "interval", "timeout", "retries", "start_period"} <= set(service["healthcheck"])


@pytest.mark.parametrize("name", ["postgres", "redis"])
def test_no_port_of_a_store_leaves_the_inner_network(name: str) -> None:
    assert "ports" not in SERVICES[name]
    assert SERVICES[name]["networks"] == ["inside"]
    assert read_compose()["networks"]["inside"] == {"internal": True}


def test_the_worker_reaches_nothing_outside() -> None:
    assert SERVICES["worker"]["networks"] == SERVICES["worker-gpu"]["networks"] == ["inside"]
    assert (SERVICES["worker"]["profiles"], SERVICES["worker-gpu"]["profiles"]) == (["cpu"], ["gpu"])
    assert SERVICES["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]


def test_everything_starts_after_the_migrations_and_these_after_the_database() -> None:
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert SERVICES["migrate"]["restart"] == "no"
    for name in OURS.keys() - {"migrate"}:
        assert SERVICES[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


@pytest.mark.parametrize("name", OURS)
def test_the_settings_of_a_service_are_settings_of_the_node(name: str) -> None:
    for variable in OURS[name]["environment"]:
        setting = variable.removeprefix("ECG_NODE_").removesuffix("_FILE").lower()
        assert setting in {*Settings.model_fields, "config"}, variable


def test_the_listener_over_tls_is_the_same_file_with_three_secrets_and_a_port_more() -> None:
    whole, more = with_tls(), read_compose(TLS_FILE)
    PyCompose.from_yaml(yaml.safe_dump(whole)).validate()
    assert set(more) == {"services", "secrets"}
    assert set(more["services"]) == {"listener"}
    listener = more["services"]["listener"]
    assert set(listener) == {"environment", "secrets", "ports"}
    assert set(listener["secrets"]) == set(more["secrets"])
    files = {name: value for name, value in listener["environment"].items() if name.endswith("_FILE")}
    assert set(files.values()) == {f"/run/secrets/{name}" for name in listener["secrets"]}
    assert {name.removeprefix("ECG_NODE_").lower() for name in listener["environment"]} <= set(Settings.model_fields)
    (port,) = listener["ports"]
    assert port.endswith(f":{listener['environment']['ECG_NODE_TLS_PORT']}")


def test_redis_keeps_what_it_has_and_evicts_nothing() -> None:
    lines = (ROOT / "docker" / "redis.conf").read_text(encoding="ascii").splitlines()
    assert {"appendonly yes", "maxmemory-policy noeviction"} <= set(lines)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_is_pinned_by_hashes_and_runs_as_nobody_in_particular(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    stages: list[Any] = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert stages == ["python:3.11-slim-bookworm"] * 2
    assert "--require-hashes" in text
    assert re.findall(r"^USER (.+)", text, re.MULTILINE) == [SERVICES["listener"]["user"]]
    assert 'ENTRYPOINT ["ecg-node"]' in text
    for source in re.findall(r"^COPY (?!--from)(\S+)", text, re.MULTILINE):
        assert (ROOT / source).exists()


def test_the_build_context_has_every_package_and_nothing_of_a_site() -> None:
    listed = (ROOT / ".dockerignore").read_text(encoding="ascii").split()
    kept = {line[1:] for line in listed if line.startswith("!")}
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    packages = re.search(r"^packages = \[(.+)\]", project, re.MULTILINE)
    assert packages is not None
    assert {name.strip(' "').split(".")[0] for name in packages[1].split(",")} <= kept
    assert kept & {"tests", "secrets", "data", ".git", ".venv"} == set()
    assert listed[0] == "*"


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_that_is_built_is_built_from_a_file_that_there_is(name: str) -> None:
    build = SERVICES[name].get("build")
    assert (build is not None) == (name in OURS)
    if build:
        assert (ROOT / build["dockerfile"]).is_file()
        for value in build.get("args", {}).values():
            assert (ROOT / "requirements" / f"{value}.txt").is_file()


# A Python in which only the distributions of base.txt can be imported, as in the light image
PROBE = """
import importlib, importlib.metadata as metadata, re, sys
def plain(name): return re.sub(r"[-_.]+", "-", name).lower()
there = set(sys.argv[1].split())
homes = {name: {plain(one) for one in dists} for name, dists in metadata.packages_distributions().items()}
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if homes.get(name, there) & there:
            return None
        raise ModuleNotFoundError(f"{name} is not in the light image", name=name)
sys.meta_path.insert(0, Blocked())
for name in sys.argv[2].split():
    importlib.import_module(name)
"""
LIGHT = [
    "cli.main",
    "dicom_node.listener",
    "worker.delivery",
    "worker.processes",
    "worker.retention",
    "worker.backup",
    "worker.restore",
    "console.process",
    "dicom_node.checks",
    "model.card",
]


def _import_lightly(*modules: str) -> subprocess.CompletedProcess[str]:
    base = (ROOT / "requirements" / "base.txt").read_text(encoding="utf-8")
    there = {_plain(name) for name in re.findall(r"^([\w.-]+)==", base, re.MULTILINE)} | {"ecg-node"}
    command = [sys.executable, "-c", PROBE, " ".join(there), " ".join(modules)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_the_light_image_has_everything_that_its_processes_import() -> None:
    imported = _import_lightly(*LIGHT)
    assert imported.returncode == 0, imported.stderr
    assert "scipy is not in the light image" in _import_lightly("scipy").stderr


def _plain(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()
