"""Metrics of the site's own code, as quoted in docs/architecture.md."""

import argparse
import ast
import io
import json
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import grimp

from bench.sites import ROOT
from bench.stage import Stage

PACKAGES = ("accounts", "guilds", "config")
VIEWS = ("accounts/views.py", "config/views.py", "guilds/pages", "guilds/api")
NO_CODE = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE),
    *(tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER),
}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def files(*places: str) -> Iterator[Path]:
    """Yield the Python files in these folders, without migrations."""
    for place in places:
        path = ROOT / place
        yield from (
            file for file in sorted([path] if path.is_file() else path.rglob("*.py")) if "migrations" not in file.parts
        )


def functions() -> Iterator[tuple[int, str]]:
    """Yield each function's length in lines, without decorators and docstring, and its location."""
    for file in files(*PACKAGES):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, Function):
                first = node.body[1:2] if ast.get_docstring(node) else node.body[:1]
                start = first[0].lineno if first else node.lineno
                yield (node.end_lineno or start) - start + 1, f"{file.relative_to(ROOT)}:{node.lineno} {node.name}"


def lines_of_code() -> int:
    """Count the lines of code, without blank lines, comments and docstrings."""
    return sum(len(_code(file.read_text())) for file in files(*PACKAGES))


def _code(source: str) -> set[int]:
    lines = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in NO_CODE
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | Function) and ast.get_docstring(node, clean=False) is not None:
            lines -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return lines


def complexities() -> Iterator[tuple[int, str]]:
    """Yield McCabe's cyclomatic complexity of each function, as computed by ruff, and its location."""
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "C901", "--output-format", "json"]
    options = ["--config", "lint.mccabe.max-complexity = 0", *(str(file) for file in files(*PACKAGES))]
    found = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    for fault in json.loads(found.stdout):
        match = re.search(r"`(\w+)` is too complex \((\d+) > 0\)", fault["message"])
        if match:
            where = Path(fault["filename"]).relative_to(ROOT)
            yield int(match[2]), f"{where}:{fault['location']['row']} {match[1]}"


def rooms() -> "tuple[set[str], set[tuple[str, str]]]":
    """Return the packages and top-level modules of guilds, and the imports between them."""
    graph = grimp.build_graph(*PACKAGES)
    inside = [module for module in graph.modules if module.startswith("guilds.") and ".migrations" not in module]
    room = {module: module.split(".")[1] for module in inside}
    arrows = {
        (room[module], room[imported])
        for module in inside
        for imported in graph.find_modules_directly_imported_by(module)
        if imported in room and room[imported] != room[module]
    }
    return set(room.values()), arrows


def circles(arrows: "set[tuple[str, str]]") -> "list[tuple[str, str]]":
    """Return the pairs of packages that import each other, directly or indirectly."""
    reach = {start: {end for begin, end in arrows if begin == start} for start, _ in arrows}
    while True:
        grown = {start: ends | {far for end in ends for far in reach.get(end, set())} for start, ends in reach.items()}
        if grown == reach:
            return sorted((a, b) for a in reach for b in reach[a] if a < b and a in reach.get(b, set()))
        reach = grown


def contracts() -> str:
    """Return how many contracts of pyproject.toml are kept and broken. In each of them, imports only run downward."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = re.search(r"Contracts: (.+)\.", done.stdout)
    return found[1] if found else done.stdout + done.stderr


def measure() -> dict[str, object]:
    names, arrows = rooms()
    longest, complex_ = max(functions()), max(complexities())
    return {
        "modules at the top of guilds": len(
            [file for file in (ROOT / "guilds").glob("*.py") if file.stem != "__init__"]
        ),
        "rooms of guilds": len(names),
        "imports between rooms": len(arrows),
        "circles": circles(arrows),
        "contracts about imports": contracts(),
        "longest function": f"{longest[0]} lines, {longest[1]}",
        "highest complexity": f"{complex_[0]}, {complex_[1]}",
        "casts in views": sum(len(re.findall(r"\bcast\(", file.read_text())) for file in files(*VIEWS)),
        "lines of code": lines_of_code(),
    }


def run(_stage: Stage | None, _options: argparse.Namespace) -> int:
    for name, value in measure().items():
        print(f"{name:<30} {value}")
    return 0
