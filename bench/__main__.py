"""`python -m bench NAME [options]`: runs a benchmark, or lists them without NAME."""

import argparse
import importlib
import sys

from bench.stage import Stage, build_settings, build_stage

BENCHES = {
    "reads": "requests to Discord for a day of one person's reads, compared with a request per view",
    "ablations": "which guarantees break when one guard of the engine is disabled",
    "chaos": "processes that die and freeze, Discord in every mood: whether any guarantee is broken",
    "soak": "machines, PostgreSQL, Redis and nginx that fail one after another under readers, and a rolling upgrade",
    "herd": "500 concurrent readers of one list that is not stored: requests to Discord, effect on other pages",
    "outage": "a stale list read 40 times a second while Discord fails: requests, errors and response times",
    "recover": "Discord responds again after a silence: how soon people without a list are served",
    "stall": "Discord takes 30 s per response: pages with a stale list, without a list, and other pages",
    "members": "pages behind roles under Discord's limit for a person: requests, refusals, ages, and two usual ways",
    "takeover": "the process that is refreshing a list is killed: time until another one takes over",
    "events": "10,000 events of the bot, out of order and repeated, through a killed process: events a second, rows",
    "attack": "unfinished bodies, half headers and silent connections: effect on other pages",
    "weight": "bytes, requests and Lighthouse scores of the picker, a server's page and sign-in, on phone and desk",
    "hit": "the cost of a fresh list, compared with an empty view and common approaches",
    "web": "requests a second, latencies and processor time of the web server with one and two workers, beside granian",
    "scale": "10,000 to a million people on PostgreSQL: what grows with their number",
    "fleet": "a simulated day of a million people under Discord's limits, with four caching strategies",
    "structure": "the site's own code: modules, imports between packages, longest and most complex function, lines",
}
# These send no requests, so no sandbox is started for them, and their stage is None.
WITHOUT_STAGE = frozenset({"ablations", "fleet", "structure"})
# This one sets up its own, because its database server is one of the machines.
OWN_STAGE = frozenset({"soak"})


def main(arguments: list[str]) -> int:
    if not arguments:
        for name, line in BENCHES.items():
            print(f"{name:<10} {line}")
        return 0
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--database", default="", metavar="URL", help="a PostgreSQL server (default: SQLite)")
    name, *options = arguments
    if name not in BENCHES:
        print(f"unknown bench {name!r}; choose one of: {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    if name in WITHOUT_STAGE:
        with build_settings():
            return _run(name, options, None, common)
    if name in OWN_STAGE:
        return _run(name, options, None, argparse.ArgumentParser(add_help=False))
    database, _ = common.parse_known_args(options)
    with build_stage(database.database) as stage:
        return _run(name, options, stage, common)


def _run(name: str, options: list[str], stage: Stage | None, common: argparse.ArgumentParser) -> int:
    # Imported here because benches import models, which need Django's settings.
    bench = importlib.import_module(f"bench.{name}")
    parser = argparse.ArgumentParser(prog=f"./run bench {name}", description=BENCHES[name], parents=[common])
    if hasattr(bench, "add_options"):
        bench.add_options(parser)
    code: int = bench.run(stage, parser.parse_args(options))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
