"""`./run`: one clear sentence for what it can't do, and nothing left running."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    bare = {"PATH": os.environ["PATH"], "ENV_FILE": os.devnull, "HOME": os.environ.get("HOME", "/")}
    return subprocess.run(
        ["./run", *command], cwd=ROOT, env=bare | environment, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("name", ["PORT", "SANDBOX_PORT"])
def test_a_taken_port_is_named_and_nothing_starts(name: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])

        result = run(VAR_DIR=str(tmp_path), **({"PORT": "18999", "SANDBOX_PORT": "18998"} | {name: port}))

    assert result.returncode == 1
    assert f"port {port} is taken" in result.stderr
    assert name in result.stderr
    assert not list(tmp_path.glob("*.sqlite3"))


def test_what_run_itself_needs_to_know_may_stand_in_the_env_file(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "env").write_text(f"HOST=localhost\nPORT = '{port}'\n")

        from_file = run(VAR_DIR=str(tmp_path), ENV_FILE=str(tmp_path / "env"))
        from_environment = run(VAR_DIR=str(tmp_path), ENV_FILE=str(tmp_path / "env"), PORT="http")

    assert f"port {port} is taken" in from_file.stderr
    assert "http is no port" in from_environment.stderr


def test_a_port_that_is_none_is_named(tmp_path: Path) -> None:
    result = run(VAR_DIR=str(tmp_path), PORT="http")

    assert result.returncode == 1
    assert "PORT" in result.stderr


def test_a_wrong_setting_is_one_sentence(tmp_path: Path) -> None:
    result = run(VAR_DIR=str(tmp_path), DISCORD_REFRESH_AT="soon")

    assert result.returncode == 1
    assert "DISCORD_REFRESH_AT" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unknown_command_is_named_beside_the_known_ones() -> None:
    result = run("tset")

    assert result.returncode == 1
    assert "'tset'" in result.stderr
    assert "./run test" in result.stderr


def test_a_python_that_is_too_old_is_named(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\ncase "$2" in *sys.exit*) exit 1;; *) echo 3.9.2;; esac\n')
    old.chmod(0o755)
    # A clone without a venv, and nothing on the PATH but this and what a shell needs.
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
