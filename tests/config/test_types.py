"""Types of one's own code: generic classes work at run time, and `./run check` covers all apps of the site."""

from pathlib import Path

import pytest
from django.contrib.admin import ModelAdmin
from django.forms import ModelForm
from django.views.generic import DetailView, FormView, ListView

from guilds.models import GuildPreference
from tests import folders

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("generic", [DetailView, FormView, ListView, ModelAdmin, ModelForm])
def test_a_generic_class_of_django_can_be_subscripted(generic: type) -> None:
    assert generic[GuildPreference] is generic  # type: ignore[index]  # any of them


def test_the_checks_cover_the_apps_of_the_site(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    (tmp_path / "welcome" / "templates").mkdir(parents=True)
    installed = [
        str(tmp_path / "guilds"),
        str(tmp_path / "welcome"),
        str(tmp_path / "site" / "polls"),
        str(tmp_path / ".venv" / "lib" / "csp"),
        str(tmp_path / "env" / "lib" / "site-packages" / "csp"),
        "/usr/lib/python3/csp",
    ]

    own = folders.site_apps(installed, tmp_path)

    assert [str(folder) for folder in own] == ["guilds", "site/polls", "welcome"]
    assert folders.templates(own, tmp_path) == ["templates", "welcome/templates"]
    typed = folders.typed(own, tmp_path)
    assert typed[-2:] == ["site/polls", "welcome"]
    assert "tests/fixtures.py" in typed
    assert typed.count("guilds") == 1
