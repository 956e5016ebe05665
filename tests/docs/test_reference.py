"""The reference is complete: every setting with its default, every command, and no link that leads nowhere."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import get_commands

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
# What ./run reads beside the settings.
OF_RUN = {"HOST": "127.0.0.1", "PORT": "8000", "WEB_WORKERS": "1", "PYTHON": None}
READERS = {"read", "number", "rate", "str"}


def settings_read() -> Iterator[tuple[str, str | None]]:
    """(name, default) of each variable that the settings read; None where the default is no plain value."""
    for call in ast.walk(ast.parse((ROOT / "config" / "settings.py").read_text())):
        if not isinstance(call, ast.Call) or ast.unparse(call.func).rpartition(".")[2] not in READERS:
            continue
        values = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
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
    # Addresses of Discord and of this machine are told in words.
    plain = {name: default for name, default in read.items() if default and "DISCORD_C" not in name}
    assert [name for name, default in plain.items() if f"`{default}`" not in told[name]] == []


def test_every_command_is_told() -> None:
    ours = {name for name, app in get_commands().items() if app in ("accounts", "guilds", "sandbox")}
    of_run = re.findall(r"^\./run ?(\w*)", (ROOT / "run").read_text().partition("cat <<'EOF'\n")[2], re.MULTILINE)
    told = rows("commands.md")

    assert len(ours) > 5
    assert ours <= set(told)
    assert {name.split()[1] if " " in name else "" for name in told if name.startswith("./run")} == set(of_run)


@pytest.mark.parametrize("document", PAGES, ids=lambda document: document.name)
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
    """As GitHub names them."""
    return {
        re.sub(r"[^\w\- ]", "", line.lower()).strip().replace(" ", "-")
        for line in re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    }


def test_the_index_leads_to_every_page() -> None:
    index = (DOCS / "README.md").read_text()

    assert [page.name for page in DOCS.iterdir() if page.is_file() and f"({page.name})" not in index] == ["README.md"]
