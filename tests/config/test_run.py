"""`./run`: one clear line for each failure, and no process left running."""

import json
import os
import shutil
import socket
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from bench.sites import free_port
from tests.engine.conftest import eventually

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[2]


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    bare = {"PATH": os.environ["PATH"], "ENV_FILE": os.devnull, "HOME": os.environ.get("HOME", "/")}
    return subprocess.run(
        ["./run", *command], cwd=ROOT, env=bare | environment, capture_output=True, text=True, timeout=180
    )


@pytest.mark.parametrize("name", ["PORT", "SANDBOX_PORT"])
def test_a_taken_port_is_named_and_nothing_starts(name: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])

        result = run(VAR_DIR=str(tmp_path), **({"PORT": "18999", "SANDBOX_PORT": "18998"} | {name: port}))

    assert result.returncode == 1
    assert f"port {port} is in use" in result.stderr
    assert name in result.stderr
    assert not list(tmp_path.glob("*.sqlite3"))


def test_a_site_that_already_runs_is_named_with_its_process(tmp_path: Path) -> None:
    code = (
        "import socket, time; taken = socket.create_server(('127.0.0.1', 0)); "
        "print(taken.getsockname()[1], flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, "config.wsgi:application"], stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout
        port = running.stdout.readline().strip()
        (tmp_path / f"gunicorn-{port}.pid").write_text(f"{running.pid}\n")

        result = run(VAR_DIR=str(tmp_path), PORT=port)
        running.kill()

    assert result.returncode == 1
    assert result.stderr.startswith(f"guildhall: the site already runs on port {port} as process {running.pid};")


def test_only_this_sites_own_server_is_reloaded(tmp_path: Path) -> None:
    (tmp_path / "gunicorn-18997.pid").write_text(f"{os.getpid()}\n")

    result = run("reload", VAR_DIR=str(tmp_path), PORT="18997")

    assert result.returncode == 1
    assert "no site of this folder runs on port 18997" in result.stderr


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def as_if_prepared(folder: Path) -> None:
    """Write what `./run prepare` leaves for the site that starts without it."""
    (folder / "static").mkdir()
    (folder / "static" / "staticfiles.json").write_text('{"version": "1.1", "paths": {}}')


def test_the_site_answers_no_visitor_before_its_sandbox_listens(tmp_path: Path) -> None:
    """A sandbox that starts slowly holds the site back, since a visitor would be sent to a refused connection."""
    slow = "import sys, time\nif 'sandbox' in sys.orig_argv: time.sleep(4)\n"
    (tmp_path / "sitecustomize.py").write_text(slow)
    as_if_prepared(tmp_path)
    port, sandbox_port = free_port(), free_port()
    environment = {"PATH": os.environ["PATH"], "ENV_FILE": os.devnull, "PYTHONPATH": str(tmp_path), "SKIP_PREPARE": "1"}
    settings = {"VAR_DIR": str(tmp_path), "PORT": str(port), "SANDBOX_PORT": str(sandbox_port), "DISCORD_BOT_TOKEN": ""}
    with subprocess.Popen(["./run"], cwd=ROOT, env=environment | settings) as site:
        try:
            eventually(lambda: listens(port), "the site listens", within=60)
            assert listens(sandbox_port)
        finally:
            site.terminate()


def test_a_sandbox_that_cannot_start_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nif 'sandbox' in sys.orig_argv: sys.exit('broken')\n")
    as_if_prepared(tmp_path)
    port, ports = free_port(), {"SANDBOX_PORT": str(free_port())}

    result = run(VAR_DIR=str(tmp_path), PYTHONPATH=str(tmp_path), SKIP_PREPARE="1", PORT=str(port), **ports)

    assert result.returncode == 1
    assert "the sandbox does not start" in result.stderr
    assert not listens(port)


@pytest.mark.thorough
def test_a_machine_prepares_starts_without_preparing_and_reloads_only_what_loads(tmp_path: Path) -> None:
    port, sandbox_port = free_port(), free_port()
    settings = {"VAR_DIR": str(tmp_path), "PORT": str(port), "SANDBOX_PORT": str(sandbox_port)}
    prepared = run("prepare", **settings)
    static = sorted(tmp_path.glob("static/*"))
    shutil.rmtree(tmp_path / "static")
    unprepared = run(**settings, SKIP_PREPARE="1")
    as_if_prepared(tmp_path)
    environment = {"PATH": os.environ["PATH"], "ENV_FILE": os.devnull, "SKIP_PREPARE": "1", "LOG_FORMAT": "json"}
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(["./run"], cwd=ROOT, env=environment | settings, stdout=log, stderr=log) as site,
    ):
        try:
            eventually(lambda: (tmp_path / f"gunicorn-{port}.pid").exists(), "the server starts", within=30)
            refused = run("reload", **settings, WEB_THREADS="many")
            reloaded = run("reload", **settings)
        finally:
            site.terminate()

    assert prepared.returncode == 0
    assert static
    assert (unprepared.returncode, unprepared.stdout) == (1, "")
    assert f"{tmp_path} has no static files; run ./run prepare" in unprepared.stderr
    assert [file.name for file in (tmp_path / "static").iterdir()] == ["staticfiles.json"]
    assert (refused.returncode, reloaded.returncode) == (1, 0), reloaded.stderr
    assert "WEB_THREADS" in refused.stderr
    lines = [line for line in (tmp_path / "log").read_text().splitlines() if not line.startswith("sandbox ")]
    assert lines
    assert all(json.loads(line)["event"] for line in lines)


def test_what_run_itself_needs_to_know_may_stand_in_the_env_file(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "env").write_text(f"HOST=localhost\nPORT = '{port}'\n")

        from_file = run(VAR_DIR=str(tmp_path), ENV_FILE=str(tmp_path / "env"))
        from_environment = run(VAR_DIR=str(tmp_path), ENV_FILE=str(tmp_path / "env"), PORT="http")

    assert f"port {port} is in use" in from_file.stderr
    assert "http is not a port" in from_environment.stderr


def test_a_port_that_is_none_is_named(tmp_path: Path) -> None:
    result = run(VAR_DIR=str(tmp_path), PORT="http")

    assert result.returncode == 1
    assert "PORT" in result.stderr


def test_a_wrong_setting_is_one_sentence(tmp_path: Path) -> None:
    result = run(VAR_DIR=str(tmp_path), DISCORD_REFRESH_AT="soon")

    assert result.returncode == 1
    assert "DISCORD_REFRESH_AT" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("values", "event"),
    [
        ({"PORT": "http"}, "PORT is invalid: http is not a port (1 to 65535)"),
        ({"LOG_LEVEL": 'a "quoted" \\ word'}, "LOG_LEVEL is invalid"),
    ],
    ids=["of the script", "of the settings"],
)
def test_its_own_lines_are_json_where_the_sites_are(values: dict[str, str], event: str, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("LOG_FORMAT=json\n")

    result = run(VAR_DIR=str(tmp_path), ENV_FILE=str(tmp_path / "env"), **values)

    line = json.loads(result.stderr)
    assert result.returncode == 1
    assert line["level"] == "error"
    assert event.partition(" is")[0] in line["event"]
    assert datetime.fromisoformat(line["timestamp"])


def test_an_unknown_command_is_named_beside_the_known_ones() -> None:
    result = run("tset")

    assert result.returncode == 1
    assert "'tset'" in result.stderr
    assert "./run test" in result.stderr


def test_a_python_that_is_too_old_is_named(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\ncase "$2" in *sys.exit*) exit 1;; *) echo 3.9.2;; esac\n')
    old.chmod(0o755)
    # A clone without a venv, and a PATH with only this Python and the tools that the script needs.
    for tool in ("bash", "dirname", "cksum", "cat"):
        (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
    (tmp_path / "clone").mkdir()
    (tmp_path / "clone" / "run").write_text((ROOT / "run").read_text())

    result = subprocess.run(
        ["/usr/bin/bash", str(tmp_path / "clone" / "run"), "manage", "check"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert result.returncode == 1
    assert "Python 3.11 or newer is needed; python3 is 3.9.2." in result.stderr
