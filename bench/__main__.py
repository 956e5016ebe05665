"""`python -m bench NAME`: one measurement; without NAME, what there is."""

import importlib
import sys

from bench.stage import Stage, build_stage

BENCHES = {"reads": "requests to Discord for a day of one person's reads, beside asking at each view"}


def main(arguments: list[str]) -> int:
    if not arguments:
        for name, line in BENCHES.items():
            print(f"{name:<10} {line}")
        return 0
    if len(arguments) != 1 or arguments[0] not in BENCHES:
        print(f"there is no bench {' '.join(arguments)!r}; there are: {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    with build_stage() as stage:
        return _run(arguments[0], stage)


def _run(name: str, stage: Stage) -> int:
    # Only now: a bench imports models, and Django wants its settings first.
    code: int = importlib.import_module(f"bench.{name}").run(stage)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
