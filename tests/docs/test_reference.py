"""The reference is complete: every setting with its default, every command, and no broken link."""

import ast
import re
import tomllib
from collections.abc import Iterator
from itertools import dropwhile
from pathlib import Path

import pytest
from django.core.management import get_commands

from tests import python_reference

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
NEW_SITE = ROOT / "config" / "new_site"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])
# What ./run reads beside the settings.
OF_RUN = {"HOST": "127.0.0.1", "SKIP_PREPARE": "0", "PYTHON": None}
IMPORT = r"^ *from ((?:accounts|guilds)[\w.]*) import (.+)$"
READERS = {"_discord_ids", "_scopes", "read", "number", "port", "entries", "rate", "str", "url", "_discord_url"}


def settings_read() -> Iterator[tuple[str, str | None]]:
    """(name, default) of each variable that the settings read; None where the default is no plain value."""
    for call in ast.walk(ast.parse((ROOT / "config" / "settings.py").read_text())):
        if not isinstance(call, ast.Call) or ast.unparse(call.func).rpartition(".")[2] not in READERS:
            continue
        named = dropwhile(lambda argument: not isinstance(argument, ast.Constant), call.args)
        values = [argument.value if isinstance(argument, ast.Constant) else None for argument in named]
        if values and isinstance(values[0], str) and values[0].isupper():
            default = values[1] if len(values) > 1 and values[1] != "" else None
            yield (
                values[0],
                str(int(default) if isinstance(default, bool) else default) if default is not None else None,
            )


def rows(page: str) -> dict[str, str]:
    """The rows of the page's tables, each by every name in its first column."""
    found = re.findall(r"^\| (`.+?) \| (.*) \|$", (DOCS / page).read_text(), re.MULTILINE)
    return {name: rest for names, rest in found for name in re.findall(r"`([^`]+)`", names)}


def test_every_setting_is_told_with_its_default() -> None:
    told = rows("settings.md")
    # Some are read twice, once without the default.
    read = OF_RUN | dict(sorted(settings_read(), key=lambda pair: pair[1] or ""))

    assert len(read) > 40
    assert set(told) == set(read)
    # The page describes addresses of Discord and of this machine in words.
    plain = {name: default for name, default in read.items() if default and not re.match("DISCORD_(C|.*_URL)", name)}
    assert [name for name, default in plain.items() if f"`{default}`" not in told[name]] == []


def test_only_djangos_modules_and_those_for_sites_stand_outside_of_packages() -> None:
    of_django = {"apps", "backends", "models", "sessions", "urls"}
    for_sites = {module.removeprefix("guilds.") for module in python_reference.NAMES if module.startswith("guilds.")}
    outside = {file.stem for file in (ROOT / "guilds").glob("*.py")} - {"__init__"}

    assert outside - of_django - for_sites == set()


def test_every_command_is_told() -> None:
    ours = {name for name, app in get_commands().items() if app in ("accounts", "guilds", "sandbox")}
    of_run = re.findall(r"^\./run ?([\w-]*)", (ROOT / "run").read_text().partition("cat <<'EOF'\n")[2], re.MULTILINE)
    told = rows("commands.md")

    assert len(ours) > 5
    assert ours <= set(told)
    assert {name.split()[1] if " " in name else "" for name in told if name.startswith("./run")} == set(of_run)


@pytest.mark.parametrize("document", PAGES, ids=lambda document: str(document.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    links = re.findall(r"""(?:\]\(|src=")([^)"\s]+)""", text)

    for target in links:
        if "://" in target:
            continue
        path, _, heading = target.partition("#")
        file = (document.parent / path) if path else document
        assert file.exists(), target
        assert not heading or heading in headings(file), target


def headings(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    return {
        re.sub(r"[^\w\- ]", "", line.lower()).strip().replace(" ", "-")
        for line in re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    }


def test_every_log_event_is_told() -> None:
    sources = [file.read_text() for app in ("accounts", "config", "guilds") for file in (ROOT / app).rglob("*.py")]
    found = {event for source in sources for event in re.findall(r'(?:logger\.\w+|\.event)\(\s*"([a-z_{}]+)"', source)}
    logged = {event.replace("{}", "guild_list") for event in found}

    assert len(logged) > 40
    assert logged - set(rows("monitoring.md")) == set()


def test_the_index_leads_to_every_page() -> None:
    index = (DOCS / "README.md").read_text()

    assert [page.name for page in DOCS.iterdir() if page.is_file() and f"({page.name})" not in index] == ["README.md"]


def test_the_page_of_python_names_is_that_of_the_code() -> None:
    is_current = python_reference.PAGE.read_text() == python_reference.page()

    assert is_current, "signatures or docstrings changed: ./run reference writes docs/python.md again"


def test_the_page_of_python_names_has_all_names_that_documents_and_examples_import() -> None:
    sites = [ROOT / "examples", ROOT / "tests" / "mysite"]
    files = [*PAGES, *(file for site in sites for file in site.rglob("*.py")), *NEW_SITE.rglob("*-tpl")]
    imports = [
        (module, name)
        for file in files
        for module, names in re.findall(IMPORT, file.read_text(), re.MULTILINE)
        for name in names.split(", ")
    ]

    assert len(imports) > 20
    assert [(module, name) for module, name in imports if name not in python_reference.NAMES.get(module, ())] == []


def test_every_python_name_has_a_docstring() -> None:
    entry = r"^### `(\w+)`\n\n(?:```.*?```\n\n)?(.*?)(?=^##|\Z)"
    entries = re.findall(entry, python_reference.page(), re.MULTILINE | re.DOTALL)

    assert len(entries) == sum(map(len, python_reference.NAMES.values()))
    assert [name for name, text in entries if not text.strip() or text.startswith("- ")] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 900


def test_the_changelog_has_a_dated_section_for_this_version_below_unreleased() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    sections = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert sections[0] == "Unreleased"
    assert re.fullmatch(rf"{re.escape(version)} - \d{{4}}-\d\d-\d\d", sections[1])
