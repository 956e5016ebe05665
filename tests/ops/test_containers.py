"""The image and compose.yaml, as far as they can be checked without a container engine."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.test_reference import rows

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[2]
OPS = ROOT / "ops"
COMPOSE = yaml.safe_load((OPS / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
MOUNTED = "/run/secrets/"


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """The folder that the documented commands make, with what an operator adds."""
    page = (ROOT / "docs" / "production.md").read_text()
    commands = re.findall(r"```\n(mkdir -m 700 secrets.*?)```", page, re.DOTALL)
    assert len(commands) == 1
    subprocess.run(["bash", "-euc", commands[0]], cwd=tmp_path, check=True, capture_output=True)
    for name in ("discord_client_secret", "discord_bot_token"):
        (tmp_path / "secrets" / name).write_text(name)
    return tmp_path / "secrets"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A folder with the files of the image, by the list of what is sent to the build."""
    folder = tmp_path / "image"
    folder.mkdir()
    listed = (OPS / "Dockerfile.dockerignore").read_text().splitlines()
    for name in (line[1:] for line in listed if line.startswith("!")):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif name != "mysite":
            shutil.copy(source, folder)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder


def environment_of(service: dict[str, Any], secrets: Path) -> dict[str, str]:
    """Return the service's environment, with `secrets` in the place where they are mounted."""
    filled = {"SITE_URL": "https://your.site", "DISCORD_CLIENT_ID": "1"}
    return {
        name: filled.get(name, str(value)).replace(MOUNTED, f"{secrets}/")
        for name, value in service["environment"].items()
    }


def test_services_set_only_what_the_site_reads() -> None:
    known = rows("settings.md")

    assert len(OURS) == 4
    for service in OURS.values():
        assert service["environment"] == OURS["site-1"]["environment"]
        assert {name.removesuffix("_FILE") for name in service["environment"]} <= set(known)


def test_every_secret_is_mounted_where_it_is_read() -> None:
    for service in SERVICES.values():
        words = [*map(str, service.get("environment", {}).values()), *map(str, service.get("command", []))]
        read = set(re.findall(rf"{MOUNTED}(\w+)", " ".join(words)))

        assert read == set(service.get("secrets", []))
    used = {name for service in SERVICES.values() for name in service.get("secrets", [])}
    assert used == set(COMPOSE["secrets"])
    assert all(secret == {"file": f"./secrets/{name}"} for name, secret in COMPOSE["secrets"].items())


def test_containers_have_read_only_files_and_few_rights() -> None:
    for service in SERVICES.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    assert not any("cap_add" in service for service in OURS.values())
    assert re.search(r"^USER guildhall$", (OPS / "Dockerfile").read_text(), re.MULTILINE)


def test_the_site_starts_with_the_documented_secrets_and_the_images_files(secrets: Path, image: Path) -> None:
    environment = {"PATH": os.environ["PATH"], **environment_of(OURS["site-1"], secrets)}
    code = "import manage, config.server, config.celery; manage.main('check')"

    ran = subprocess.run([".venv/bin/python", "-c", code], cwd=image, env=environment, capture_output=True, text=True)

    assert ran.returncode == 0, ran.stderr
    assert not (image / "var" / "keys.json").exists()


def test_the_sites_containers_are_those_behind_nginx(tmp_path: Path) -> None:
    command = SERVICES["nginx"]["command"][2].replace("$$", "$")
    command = command.replace("/srv/nginx.conf", str(OPS / "nginx.conf")).partition(" > ")[0]

    text = subprocess.run(
        ["sh", "-euc", command], env={"SITE_HOST": "servers.example.org"}, check=True, capture_output=True, text=True
    ).stdout

    sites = {service["networks"]["default"]["ipv4_address"] for name, service in OURS.items() if "site" in name}
    assert len(sites) == 2
    assert set(re.findall(r"^    server (.*):8000 max_fails=0;", text, re.MULTILINE)) == sites
    assert re.findall(r"^    server_name (.*);", text, re.MULTILINE) == ["servers.example.org"]
    certificates = re.findall(rf"ssl_certificate\w* +{MOUNTED}(.*);", text)
    assert certificates == SERVICES["nginx"]["secrets"]
