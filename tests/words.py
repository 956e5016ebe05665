"""`python -m tests.words`: reject the worst habits of wording in documents, pages, docstrings, comments and messages.

Prints each finding as `path:line: text (advice)` and exits with 1 if there is any. Only prose is read: in Python files
comments, docstrings and string literals of at least `MIN_WORDS` words; in Markdown everything but code.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MIN_WORDS = 3


@dataclass(frozen=True)
class Rule:
    """A habit: the pattern that finds it, what to write instead, and a sample that a test checks the pattern with."""

    pattern: re.Pattern[str]
    advice: str
    sample: str


def rule(pattern: str, advice: str, sample: str) -> Rule:
    return Rule(re.compile(pattern.replace(" ", r"\s+")), advice, sample)


RULES = (
    rule(r"\b(?:[Ww]ho(?:m)?ever|[Ss]omebody|[Nn]obody|[Aa]nybody)\b", "name the actor", "Whoever asks gets a list."),
    rule(
        r"(?:\A|[#>\"]\s*|[.;:!] )Who (?:has|is|does|asks|reads|can|may|wants|comes|looks|knows|waits)\b(?![^.]*\?)",
        "name the actor",
        "That is fine. Who looks further searches.",
    ),
    rule(r"\bshall\b", "must, should or will", "The token shall expire."),
    rule(r"\bmay (?:everything|anything|nothing)\b", "may needs a verb", "Owners may everything."),
    rule(r"\b(?:who|they|he|she|it|you|people) may(?: not)?(?:[.;:!)]|\Z)", "may needs a verb", "Add it, if they may."),
    rule(
        r"\bnone (?:so|such) \w+|\bno (?!later|earlier)\w+er than (?:that|this)\b",
        "turn it into a positive statement",
        "There is none so young.",
    ),
    rule(r"\b(?:of|by) (?:ours|theirs|yours)\b", "our, their or your", "It is a limit of ours."),
    rule(r"\b[Ll]eav(?:es?|ing) (?:\S+ )?away\b|\bleft away\b", "omit", "Leave it away where you only read."),
    rule(r"\bgiv(?:es?|ing|en) back\b|\blet(?:s|ting)? go\b", "release or return", "The holder gives back the lease."),
    rule(r"\bgiv(?:es?|ing) (?:it|them|\w+) a rest\b", "pause or back off", "The site is giving it a rest."),
    rule(r"\b[Tt]hat takes (?:a|an|the|no)\b", "name what is needed", "That takes the permission to manage."),
    rule(r"\w’\w", "write a straight apostrophe", "The list isn’t fresh."),
)

# A path and a part of the line, with the reason why the wording stays.
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("LICENSE", "shall be included"): "the text of the MIT licence",
    ("LICENSE", "IN NO EVENT SHALL"): "the text of the MIT licence",
}

# Files that are not read, with the reason.
SKIPPED = {
    "docs/openapi.yaml": "generated from the code",
    "tests/words.py": "lists the habits",
    "tests/docs/test_words.py": "quotes the habits",
}
SKIPPED_FOLDERS = {"__pycache__", "images", "locale", "migrations", "node_modules", "var"}
HIDDEN_BUT_OURS = {".ci", ".env.example"}
SUFFIXES = {
    ".conf",
    ".css",
    ".example",
    ".html",
    ".in",
    ".js",
    ".md",
    ".py",
    ".service",
    ".svg",
    ".timer",
    ".toml",
    ".ts",
}
SUFFIXES |= {".yaml", ".yml"}
WITHOUT_SUFFIX = {"Caddyfile", "Dockerfile", "LICENSE", "Procfile", "run"}
# The files of a new site have the suffix of what they become, and this.
TEMPLATE = "-tpl"


@dataclass(frozen=True)
class Prose:
    """A piece of text and the line of the file on which it starts."""

    line: int
    text: str


def python_prose(source: str) -> Iterator[Prose]:
    """The blocks of comments, and the docstrings and longer literals; never names or short values."""
    block: list[str] = []
    last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        if block and token.start[0] != last + 1:
            yield Prose(last - len(block) + 1, "\n".join(block))
            block = []
        block.append(token.string.lstrip("#! "))
        last = token.start[0]
    if block:
        yield Prose(last - len(block) + 1, "\n".join(block))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value.split()) >= MIN_WORDS:
            yield Prose(node.lineno, node.value.rstrip())


def markdown_prose(source: str) -> Iterator[Prose]:
    """The paragraphs, list items and table cells, with code left blank."""

    def blank(match: re.Match[str]) -> str:
        return re.sub(r"[^\n]", "_", match[0])

    source = re.sub(r"^ *```.*?^ *```$|`[^`]+`", blank, source, flags=re.MULTILINE | re.DOTALL)
    paragraph: list[str] = []
    for number, line in enumerate([*source.split("\n"), ""], 1):
        if paragraph and re.match(r"\s*$|[|#]|\s*[-*] |\s*\d+\. ", line):
            yield Prose(number - len(paragraph), "\n".join(paragraph).lstrip("#*-0123456789. "))
            paragraph = []
        if line.startswith("|"):
            yield from (Prose(number, cell.strip()) for cell in line.split("|"))
        elif line.strip():
            paragraph.append(line)


def prose(path: Path, source: str) -> Iterator[Prose]:
    suffix = path.suffix.removesuffix(TEMPLATE)
    if suffix == ".py":
        yield from python_prose(source)
    elif suffix == ".md":
        yield from markdown_prose(source)
    else:
        yield Prose(1, source)


def files(root: Path) -> Iterator[Path]:
    """The files of the project that can hold prose, relative to `root`."""
    for path in sorted(root.iterdir()):
        if path.is_symlink() or (path.name.startswith(".") and path.name not in HIDDEN_BUT_OURS):
            continue
        if path.is_dir() and path.name not in SKIPPED_FOLDERS:
            yield from files(path)
        elif path.is_file() and (path.suffix.removesuffix(TEMPLATE) in SUFFIXES or path.name in WITHOUT_SUFFIX):
            yield path


def findings(path: str, source: str) -> Iterator[tuple[int, str, str]]:
    """(line, words found, advice) of each habit in a file with this path."""
    lines = source.split("\n")
    for piece in prose(Path(path), source):
        for habit in RULES:
            for match in habit.pattern.finditer(piece.text):
                number = piece.line + piece.text.count("\n", 0, match.end())
                line = lines[min(number, len(lines)) - 1]
                if not any(path == place and part in line for place, part in EXCEPTIONS):
                    yield number, " ".join(match[0].split()), habit.advice


def stale_exceptions(root: Path) -> list[str]:
    """Exceptions whose text is gone, as findings."""
    gone = [(place, part) for place, part in EXCEPTIONS if part not in (root / place).read_text()]
    return [f"{place}: “{part}” is an exception in tests/words.py, but not in the file" for place, part in gone]


def main() -> int:
    found = stale_exceptions(ROOT)
    for file in files(ROOT):
        path = str(file.relative_to(ROOT))
        if path not in SKIPPED:
            found += [f"{path}:{line}: {words} ({advice})" for line, words, advice in findings(path, file.read_text())]
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
