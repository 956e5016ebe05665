"""`./run mutants [MODULE ...]`: list the changes to the engine's modules that their own tests do not notice.

mutmut changes one expression at a time and runs the tests that reach it. A mutant survives if no test fails.
`[tool.guildhall.mutants]` in pyproject.toml lists the modules, each with its tests.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MUTMUT = Path(sys.executable).parent / "mutmut"
MIN_SCORE = 90
# mutmut reports an endless loop as "timeout" and an endless computation, which it kills at once, as "segfault".
KILLED = {"killed", "timeout", "segfault"}


def workspace(module: str, tests: list[str]) -> Path:
    """A folder that mutmut treats as the project: links to the sources, and a configuration for this module alone."""
    config = (ROOT / "pyproject.toml").read_text()
    mutmut = tomllib.loads(config)["tool"]["mutmut"]
    folder = ROOT / "var" / "mutants" / module
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in [*mutmut["source_paths"], *mutmut["also_copy"], "tests"]:
        (folder / name).symlink_to(ROOT / name)
    chosen = {"only_mutate": [path_of(module)], "pytest_add_cli_args_test_selection": tests}
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in chosen.items())
    (folder / "pyproject.toml").write_text(config.replace("[tool.mutmut]\n", f"[tool.mutmut]\n{lines}"))
    return folder


def path_of(module: str) -> str:
    return module.replace(".", "/") + ".py"


def mutate(folder: Path) -> None:
    """Run mutmut with one worker: its workers would share one test database."""
    with subprocess.Popen([MUTMUT, "run", "--max-children", "1"], cwd=folder, start_new_session=True) as process:
        try:
            code = process.wait()
        finally:
            # A mutant that is killed leaves its sandbox behind.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
    if code:
        sys.exit(f"mutmut failed in {folder}")


def statuses(folder: Path) -> dict[str, str]:
    """Mutants by name: killed, survived, timeout, no tests ..."""
    lines = said(folder, "results", "--all", "true").splitlines()
    return {name: status for name, _, status in (line.strip().partition(": ") for line in lines if ": " in line)}


def said(folder: Path, *command: str) -> str:
    return subprocess.run([MUTMUT, *command], cwd=folder, check=True, capture_output=True, text=True).stdout


def main(wanted: list[str]) -> int:
    modules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["guildhall"]["mutants"]
    if unknown := set(wanted) - set(modules):
        sys.exit(f"guildhall: unknown module {', '.join(sorted(unknown))}; choose from {', '.join(modules)}")
    if not MUTMUT.exists():
        sys.exit(f"guildhall: mutmut is not installed; run {sys.executable} -m pip install -r requirements-dev.txt")
    table, survivors = [f"{'module':<24} {'mutants':>7} {'killed':>7} {'score':>6}"], []
    enough = True
    for module in wanted or modules:
        folder = workspace(module, modules[module])
        mutate(folder)
        found = statuses(folder)
        alive = [name for name, status in found.items() if status not in KILLED]
        survivors += [said(folder, "show", name) for name in alive]
        score = 100 * (len(found) - len(alive)) / len(found)
        enough &= score >= MIN_SCORE
        table.append(f"{module:<24} {len(found):>7} {len(found) - len(alive):>7} {score:>5.1f}%")
    print("", *survivors, *table, sep="\n")
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
