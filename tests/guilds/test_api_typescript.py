"""A TypeScript client is generated from docs/openapi.yaml, and a program that uses it compiles."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REQUIRED

SCHEMA = str(Path(__file__).parents[2] / "docs/openapi.yaml")
PROJECT = Path(__file__).parent / "typescript"
NPM = shutil.which("npm")


@pytest.mark.thorough
@pytest.mark.skipif("npm" not in REQUIRED, reason="npm's registry is on the network; GUILDHALL_REQUIRE=npm runs it")
def test_a_generated_typescript_client_compiles(tmp_path: Path) -> None:
    assert NPM, "GUILDHALL_REQUIRE names npm, and there is none on the PATH"
    for file in PROJECT.glob("*.*"):
        shutil.copy(file, tmp_path)

    installed = _run(tmp_path, NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
    generated = _run(tmp_path, "node_modules/.bin/openapi-typescript", SCHEMA, "-o", "schema.d.ts")
    compiled = _run(tmp_path, "node_modules/.bin/tsc", "-p", ".")

    assert installed
    assert generated
    assert compiled


def _run(folder: Path, *command: str) -> bool:
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, check=False, timeout=240)
    return done.returncode == 0
