"""What the picker, a server's page and sign-in weigh, and how Lighthouse scores them, on a phone and a desk.

Lighthouse is installed from npm into `var/lighthouse`, once; Node and Chromium are required. The bench fails if a page
is over one of the budgets below. Each page is loaded several times with an empty cache, on a processor that Lighthouse
counts as four times slower than it is, the phone's line being slow too. The fastest load counts, because the machine's
other work only adds to the times.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench.cluster import Person, cluster, sign_in
from bench.stage import Stage

# The next major version needs a Node that Debian doesn't have yet.
LIGHTHOUSE = "lighthouse@12.8.2"
HOME = Path(__file__).resolve().parent.parent / "var" / "lighthouse"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chromium-headless-shell")
CHROME = "--headless=new --no-sandbox --disable-gpu --disable-background-networking --disable-component-update"
FORM_FACTORS = {"phone": (), "desk": ("--preset=desktop", "--throttling.cpuSlowdownMultiplier=4")}
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")
TIMES = {
    "blocking_ms": "total-blocking-time",
    "largest_paint_ms": "largest-contentful-paint",
    "layout_shift": "cumulative-layout-shift",
}
KINDS = {"Document": "page", "Stylesheet": "style", "Script": "script"}
# Icons of servers and people come from Discord; the site doesn't decide how much they weigh.
ICONS = "icons"
MIN_SCORE = 95
MAX_BYTES = 60 * 1024
MAX_BLOCKING_MS = 150

Figures = dict[str, float]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--guilds", type=int, default=200, help="number of servers the person is in (%(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="number of loads of each page (%(default)s)")


def run(stage: Stage, options: argparse.Namespace) -> int:
    lighthouse, chromium = _lighthouse(), next(filter(None, map(shutil.which, CHROMIUM)), None)
    if not lighthouse or not chromium:
        print("npm (Node 20 or newer) and Chromium are required", file=sys.stderr)
        return 2
    with cluster(stage, processes=1, DISCORD_CDN_URL=f"{stage.sandbox.url}/cdn") as site:
        ada = sign_in(stage, "ada", options.guilds, age=timedelta(minutes=5))
        pages = {
            "picker": ("/servers/", ada),
            "server": ("/servers/80351110224678912/", ada),
            "sign-in": ("/sign-in/", None),
        }
        found: dict[str, Figures] = {}
        for name, (path, person) in pages.items():
            for form_factor, flags in FORM_FACTORS.items():
                command = [str(lighthouse), site.sites[0].url + path, *flags]
                reports = _reports(command, chromium, person, stage.folder / "lighthouse.json", options.runs)
                found[f"{name}, {form_factor}"] = fastest(map(figures, reports))
    _print(found)
    good = all(map(within_budget, found.values()))
    print(json.dumps({"bench": "weight", "guilds": options.guilds, "pages": found, "good": good}))
    return 0 if good else 1


def figures(report: Any) -> Figures:
    """Return what Lighthouse's report says: bytes on the wire by kind, requests, times, and scores from 0 to 100."""
    audits = report["audits"]
    requests = [item for item in audits["network-requests"]["details"]["items"] if item["url"].startswith("http")]
    sizes: Counter[str] = Counter(dict.fromkeys((*KINDS.values(), "other", ICONS), 0))
    for request in requests:
        kind = ICONS if "/cdn/" in request["url"] else KINDS.get(request.get("resourceType", ""), "other")
        sizes[kind] += request["transferSize"]
    return {
        **sizes,
        "bytes": sizes.total() - sizes[ICONS],
        "requests": sum("/cdn/" not in request["url"] for request in requests),
        **{name: round(audits[audit]["numericValue"], 3) for name, audit in TIMES.items()},
        **{category: round(100 * report["categories"][category]["score"]) for category in CATEGORIES},
    }


def fastest(loads: Iterable[Figures]) -> Figures:
    return min(loads, key=lambda load: (-load["performance"], load["blocking_ms"]))


def within_budget(page: Figures) -> bool:
    return (
        page["bytes"] <= MAX_BYTES
        and page["blocking_ms"] <= MAX_BLOCKING_MS
        and all(page[category] >= MIN_SCORE for category in CATEGORIES)
    )


def _reports(command: list[str], chromium: str, person: Person | None, report: Path, runs: int) -> list[Any]:
    """Return the reports of `runs` loads, and print the audits that cost points in the last one."""
    headers = {"Cookie": f"guildhall_session={person.cookie}"} if person else {}
    command = [*command, "--quiet", "--output=json", f"--output-path={report}", f"--chrome-flags={CHROME}"]
    command += [f"--extra-headers={json.dumps(headers)}", f"--only-categories={','.join(CATEGORIES)}"]
    reports: list[Any] = []
    for _ in range(2 * runs):
        # On a busy machine Chromium occasionally misses the start of its own trace.
        if subprocess.run(command, check=False, env={**os.environ, "CHROME_PATH": chromium}).returncode == 0:
            reports.append(json.loads(report.read_text()))
        if len(reports) == runs:
            break
    else:
        raise SystemExit(f"Lighthouse could not measure {command[1]}")
    for category in CATEGORIES:
        for ref in reports[-1]["categories"][category]["auditRefs"]:
            audit = reports[-1]["audits"][ref["id"]]
            if ref["weight"] and audit["score"] is not None and audit["score"] < 0.9:
                print(f"{command[1]}: {category}: {audit['title']} ({audit.get('displayValue', '')})")
    return reports


def _print(found: dict[str, Figures]) -> None:
    print(f"{'':<18}" + "".join(f"{page:>18}" for page in found))
    for name in next(iter(found.values())):
        print(f"{name:<18}" + "".join(f"{page[name]:>18g}" for page in found.values()))


def _lighthouse() -> Path | None:
    found = HOME / "node_modules" / ".bin" / "lighthouse"
    if not found.exists() and shutil.which("npm"):
        HOME.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(HOME), LIGHTHOUSE]
        subprocess.run(command, check=True)
    return found if found.exists() else None
