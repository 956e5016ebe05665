"""Which guarantees break when a guard of the engine is disabled, one guard after the other.

If a guarantee's tests still pass without its guard, they prove nothing; if they fail without another guarantee's guard,
the guarantee has an unintended dependency.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from bench.sites import ROOT
from tests.engine.promises import KEEPS, PROMISES

DATABASE = "TEST_DATABASE_URL"
FILES = ("test_one_asks.py", "test_discord_fails.py", "test_readers.py", "test_members.py", "test_every_resource.py")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", choices=sorted(KEEPS), action="append", help="one guard instead of all")


def run(_stage: None, options: argparse.Namespace) -> int:
    started = time.monotonic()
    names = options.only or sorted(KEEPS)
    # The tests wait for processes most of the time. On PostgreSQL, all runs would use the same test database.
    at_once = 1 if options.database else (os.cpu_count() or 1) + 1
    with ThreadPoolExecutor(at_once) as pool:
        runs = ["", *names]
        failed = dict(zip(runs, pool.map(partial(failing, database=options.database), runs), strict=True))
    expected = {"": frozenset[str](), **KEEPS}
    wrong = {name: sorted(failed[name] ^ expected[name]) for name in failed if failed[name] != expected[name]}

    widths = {promise: max(len(promise) + 2, 5) for promise in PROMISES}
    print(f"{'switched off':<22}" + "".join(f"{promise:>{widths[promise]}}" for promise in PROMISES))
    for name, promises in failed.items():
        cells = (f"{'fail' if promise in promises else '·':>{width}}" for promise, width in widths.items())
        print(f"{name or 'nothing':<22}" + "".join(cells))
    for name, odd in wrong.items():
        print(f"BROKEN without {name or 'nothing'}: not as designed for {', '.join(odd)}")
    matrix = {name or "nothing": sorted(promises) for name, promises in failed.items()}
    print(json.dumps({"matrix": matrix, "exact": not wrong, "seconds": round(time.monotonic() - started, 1)}))
    return 1 if wrong else 0


def failing(name: str, database: str) -> frozenset[str]:
    """Return the guarantees with a failing test while the guard is off."""
    with tempfile.TemporaryDirectory(prefix="guildhall-bench-") as folder:
        report = Path(folder) / "report.xml"
        kept = {name: value for name, value in os.environ.items() if name not in ("DJANGO_SETTINGS_MODULE", DATABASE)}
        environment = {**kept, "GUILDHALL_ABLATE": name, **({DATABASE: database} if database else {})}
        files = [f"tests/engine/{file}" for file in FILES]
        pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *files]
        print(f"without {name or 'nothing'} …", file=sys.stderr, flush=True)
        done = subprocess.run(pytest, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if not report.exists():
            raise SystemExit(f"the tests did not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        tree = ElementTree.parse(report)
    broken = [case.get("name", "") for case in tree.iter("testcase") if case.find("failure") is not None]
    broken += [case.get("name", "") for case in tree.iter("testcase") if case.find("error") is not None]
    return frozenset(promise_of(test) for test in broken)


def promise_of(test: str) -> str:
    """Return "G4" for `test_g4_…`, "R13 member" for `test_r13_…[member]`, or the name of a test of no guarantee."""
    found = re.match(r"test_([gr]\d+)_", test)
    if found is None:
        return test
    resource = re.search(r"\[(\w+)]", test) if found[1] == "r13" else None
    return f"{found[1].upper()} {resource[1]}" if resource else found[1].upper()
