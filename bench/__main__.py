"""`python -m bench NAME [options]`: one measurement; without NAME, what there is."""

import argparse
import importlib
import sys

from bench.stage import Stage, build_settings, build_stage

BENCHES = {
    "reads": "requests to Discord for a day of one person's reads, beside asking at each view",
    "ablations": "which promises break when one guard of the engine is switched off",
    "chaos": "processes that die and freeze, a Discord in every mood, and whether any promise was broken",
    "herd": "500 readers at once of one list that is not stored: requests to Discord, and the other pages meanwhile",
    "outage": "a stale list read 40 times a second while Discord fails: requests, errors, and what readers feel",
    "stall": "Discord takes 30 s per answer: pages of stale lists, of none, and the others",
    "takeover": "the process that asks Discord is killed: how soon another one asks",
    "lighthouse": "what Lighthouse says of the picker, a server's page and sign-in",
    "hit": "what a fresh list costs, beside an empty view and the usual ways",
    "scale": "10,000 to a million people on PostgreSQL: what grows with them and what doesn't",
    "fleet": "a day of a million people under Discord's limits, simulated, with four ways to cache",
    "structure": "the site's own code: modules, imports between rooms, longest and most complex function, lines",
}
# Those that ask nobody: no sandbox is started for them, and their stage is None.
WITHOUT_STAGE = frozenset({"ablations", "fleet", "structure"})


def main(arguments: list[str]) -> int:
    if not arguments:
        for name, line in BENCHES.items():
            print(f"{name:<10} {line}")
        return 0
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--database", default="", metavar="URL", help="a PostgreSQL server; SQLite without it")
    name, *options = arguments
    if name not in BENCHES:
        print(f"there is no bench {name!r}; there are: {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    if name in WITHOUT_STAGE:
        with build_settings():
            return _run(name, options, None, common)
    database, _ = common.parse_known_args(options)
    with build_stage(database.database) as stage:
        return _run(name, options, stage, common)


def _run(name: str, options: list[str], stage: Stage | None, common: argparse.ArgumentParser) -> int:
    # Only now: a bench imports models, and Django wants its settings first.
    bench = importlib.import_module(f"bench.{name}")
    parser = argparse.ArgumentParser(prog=f"./run bench {name}", description=BENCHES[name], parents=[common])
    if hasattr(bench, "add_options"):
        bench.add_options(parser)
    code: int = bench.run(stage, parser.parse_args(options))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
