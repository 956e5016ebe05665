"""Each catalogue translates all strings of the sources, and its compiled form is up to date."""

import ast
import gettext
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings
from django.test import Client

from tests.conftest import REQUIRED

ROOT = Path(__file__).parents[2]
# The folders with translatable strings, including apps added to the project; the sandbox and examples are English only.
APPS = {app.name for app in apps.get_app_configs() if Path(app.path).parent == ROOT} - {"config", "sandbox", "examples"}
TRANSLATED = [code for code, _ in settings.LANGUAGES if code != "en"]
# The parts that a translation must keep: placeholders, and markup with its attributes.
KEPT = re.compile(r"%\(\w+\)[sd]|<[^>]*>")


def catalogue(language: str, root: Path = ROOT) -> Path:
    return root / "locale" / language / "LC_MESSAGES" / "django.po"


def entries(file: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield each entry except the header: its flags, the message and the translation."""
    for block in file.read_text().split("\n\n")[1:]:
        flags = ",".join(line[2:] for line in block.splitlines() if line.startswith("#,"))
        texts = re.findall(r'^(msgid|msgid_plural|msgstr(?:\[\d\])?) ((?:"(?:[^"\\]|\\.)*"\n?)+)', block, re.MULTILINE)
        said = [(name, "".join(ast.literal_eval(line) for line in text.splitlines())) for name, text in texts]
        yield (
            flags,
            [text for name, text in said if name.startswith("msgid")],
            [text for name, text in said if name.startswith("msgstr")],
        )


@pytest.mark.parametrize("language", TRANSLATED)
def test_nothing_is_left_untranslated(language: str) -> None:
    found = list(entries(catalogue(language)))

    assert len(found) > 100
    assert [ids for _, ids, texts in found if not all(texts) or len(texts) != len(ids)] == []
    assert [ids for flags, ids, _ in found if "fuzzy" in flags] == []
    assert "#~" not in catalogue(language).read_text()


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_translation_keeps_placeholders_and_markup(language: str) -> None:
    for _, ids, texts in entries(catalogue(language)):
        for said, text in zip(ids, texts, strict=True):
            assert sorted(KEPT.findall(said)) == sorted(KEPT.findall(text)), said


@pytest.mark.parametrize("language", TRANSLATED)
def test_what_is_compiled_is_what_is_written(language: str) -> None:
    with catalogue(language).with_suffix(".mo").open("rb") as compiled:
        translations = gettext.GNUTranslations(compiled)

    for _, ids, texts in entries(catalogue(language)):
        if len(ids) == 1:
            assert translations.gettext(ids[0]) == texts[0]
        else:
            assert [translations.ngettext(*ids, count) for count in (1, 2)] == texts
    plural_forms = sum(len(texts) for _, _, texts in entries(catalogue(language)))
    assert len(translations._catalog) == plural_forms + 1, "run ./run messages"  # type: ignore[attr-defined]  # no other way to its size


@pytest.mark.parametrize("language", TRANSLATED)
@pytest.mark.skipif(
    not shutil.which("xgettext") and "gettext" not in REQUIRED, reason="there is no xgettext on the PATH"
)
def test_a_catalogue_holds_what_the_sources_say(tmp_path: Path, language: str) -> None:
    for folder in ("config", "templates", "locale", *APPS):
        # Compiled files too, since the command would compile the whole project again.
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for file in ("manage.py", "pyproject.toml"):
        shutil.copy(ROOT / file, tmp_path)
    before = {tuple(ids) for _, ids, _ in entries(catalogue(language))}

    command = [sys.executable, "manage.py", "makemessages", "--locale", language, "--no-obsolete", "--verbosity", "0"]
    # With a Discord application the site starts without the sandbox, which is not translated.
    discord = {"DISCORD_CLIENT_ID": "1", "DISCORD_CLIENT_SECRET": "1"}
    environment = {"PATH": os.environ["PATH"], "ENV_FILE": os.devnull, "VAR_DIR": str(tmp_path / "var"), **discord}
    subprocess.run(command, cwd=tmp_path, check=True, env=environment)
    after = {tuple(ids) for _, ids, _ in entries(catalogue(language, tmp_path))}

    assert after == before, "run ./run messages"


def test_a_browser_gets_its_own_language(client: Client) -> None:
    german = client.get("/", headers={"accept-language": "de-AT,de;q=0.9,en;q=0.5"})
    unknown = client.get("/", headers={"accept-language": "tlh"})

    assert ("Mit Discord anmelden" in german.content.decode(), german["Content-Language"]) == (True, "de")
    assert ("Sign in with Discord" in unknown.content.decode(), unknown["Content-Language"]) == (True, "en")
    assert "Accept-Language" in german["Vary"]


def test_a_language_that_was_chosen_counts_more_than_the_browsers(client: Client) -> None:
    chosen = client.post("/language/", {"language": "de"}, headers={"referer": "http://testserver/sign-in/?next=/x/"})

    page = client.get("/", headers={"accept-language": "en"})
    problem = client.get("/no-such-page/", headers={"accept": "application/json"})

    assert (chosen.status_code, chosen["Location"]) == (302, "http://testserver/sign-in/?next=/x/")
    assert '<html lang="de"' in page.content.decode()
    assert problem.json()["title"] == "Seite nicht gefunden"
