"""What each guard of the engine is for: its promises' tests, with one guard after the other switched off.

A promise whose tests still pass without its guard was never proved by them; one that fails without somebody else's
guard leans on what it shouldn't.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

from bench.sites import ROOT
from tests.engine.promises import KEEPS, PROMISES

DATABASE = "TEST_DATABASE_URL"
FILES = ("test_one_asks.py", "test_discord_fails.py", "test_readers.py")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", choices=sorted(KEEPS), action="append", help="one guard instead of all")


def run(_stage: None, options: argparse.Namespace) -> int:
    started = time.monotonic()
    names = options.only or sorted(KEEPS)
    failed = {name: failing(name, options.database) for name in ["", *names]}
    expected = {"": frozenset[str](), **KEEPS}
    wrong = {name: sorted(failed[name] ^ expected[name]) for name in failed if failed[name] != expected[name]}

    print(f"{'switched off':<14}" + "".join(f"{promise:>5}" for promise in PROMISES))
    for name, promises in failed.items():
        cells = ("fails" if promise in promises else "·" for promise in PROMISES)
        print(f"{name or 'nothing':<14}" + "".join(f"{cell:>5.4}" for cell in cells))
    for name, odd in wrong.items():
        print(f"BROKEN without {name or 'nothing'}: not as designed for {', '.join(odd)}")
    matrix = {name or "nothing": sorted(promises) for name, promises in failed.items()}
    print(json.dumps({"matrix": matrix, "exact": not wrong, "seconds": round(time.monotonic() - started, 1)}))
    return 1 if wrong else 0


def failing(name: str, database: str) -> frozenset[str]:
    """The promises of which a test fails while the guard is off."""
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
    """ "G4" of `test_g4_…`; the test's own name if it is about no promise."""
    found = re.match(r"test_g(\d+)_", test)
    return f"G{found[1]}" if found else test
