"""Lighthouse scores of the picker, a server's page and sign-in on a phone; each must be at least 95.

Lighthouse is installed from npm into `var/lighthouse`, once; Node and Chromium are required.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench.cluster import Person, cluster, sign_in
from bench.stage import Stage

# The next major version needs a Node that Debian doesn't have yet.
LIGHTHOUSE = "lighthouse@12.8.2"
HOME = Path(__file__).resolve().parent.parent / "var" / "lighthouse"
MIN_SCORE = 95
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")
CHROME = "--headless=new --no-sandbox --disable-gpu --disable-background-networking --disable-component-update"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--guilds", type=int, default=100, help="number of servers the person is in")
    parser.add_argument("--runs", type=int, default=3, help="how often to measure each page; the median counts")


def run(stage: Stage, options: argparse.Namespace) -> int:
    lighthouse, chromium = _lighthouse(), _chromium()
    if not lighthouse or not chromium:
        print("npm (Node 20 or newer) and Chromium are required", file=sys.stderr)
        return 2
    with cluster(stage, processes=1) as site:
        ada = sign_in(stage, "ada", options.guilds, age=timedelta(minutes=5))
        pages = {"picker": ("/servers/", ada), "detail": ("/servers/1/", ada), "sign-in": ("/sign-in/", None)}
        scores = {
            name: _scores(lighthouse, chromium, site.sites[0].url + path, person, stage.folder, options.runs)
            for name, (path, person) in pages.items()
        }
    print(f"{'':<10}" + "".join(f"{category:>16}" for category in CATEGORIES))
    for name, found in scores.items():
        print(f"{name:<10}" + "".join(f"{found[category]:>16}" for category in CATEGORIES))
    good = all(score >= MIN_SCORE for found in scores.values() for score in found.values())
    print(
        json.dumps(
            {"bench": "lighthouse", "least": MIN_SCORE, "guilds": options.guilds, "scores": scores, "good": good}
        )
    )
    return 0 if good else 1


def _scores(
    lighthouse: Path, chromium: str, url: str, person: Person | None, folder: Path, runs: int
) -> dict[str, int]:
    """Return each category's median score, 0 to 100, and print the audits that cost points."""
    headers = {"Cookie": f"guildhall_session={person.cookie}"} if person else {}
    report = folder / "lighthouse.json"
    command = [str(lighthouse), url, "--quiet", "--output=json", f"--output-path={report}", f"--chrome-flags={CHROME}"]
    command += [f"--extra-headers={json.dumps(headers)}", f"--only-categories={','.join(CATEGORIES)}"]
    reports: list[Any] = []
    for _ in range(2 * runs):
        # On a busy machine Chromium occasionally misses the start of its own trace.
        if subprocess.run(command, check=False, env={**os.environ, "CHROME_PATH": chromium}).returncode == 0:
            reports.append(json.loads(report.read_text()))
        if len(reports) == runs:
            break
    else:
        raise SystemExit(f"Lighthouse could not measure {url}")
    for category in CATEGORIES:
        for ref in reports[-1]["categories"][category]["auditRefs"]:
            audit = reports[-1]["audits"][ref["id"]]
            if ref["weight"] and audit["score"] is not None and audit["score"] < 0.9:
                print(f"{url}: {category}: {audit['title']} ({audit.get('displayValue', '')})")
    return {
        category: round(100 * statistics.median(report["categories"][category]["score"] for report in reports))
        for category in CATEGORIES
    }


def _lighthouse() -> Path | None:
    found = HOME / "node_modules" / ".bin" / "lighthouse"
    if not found.exists() and shutil.which("npm"):
        HOME.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(HOME), LIGHTHOUSE]
        subprocess.run(command, check=True)
    return found if found.exists() else None


def _chromium() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
