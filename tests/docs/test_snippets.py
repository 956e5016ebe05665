"""The Python examples in the docs that are no files run as they are written, in the order of their page."""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from django.apps import AppConfig
from django.core.management import call_command
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.test.utils import isolate_apps
from django.urls import include, path
from django.utils import timezone
from django.utils.translation import gettext_lazy
from rest_framework.views import APIView

from accounts import hooks
from accounts.models import User
from guilds.decorators import guild_required
from guilds.entered_guild import EnteredGuild
from guilds.hooks import MembershipChange, Rights
from guilds.middleware import GuildRequest
from guilds.models import BotGuild, JobRun
from tests.fixtures import Sandbox

DOCS = Path(__file__).parents[2] / "docs"
# Those below the name of a file are compared with it elsewhere.
EXAMPLE = re.compile(r"(^`[^`\n]+`:\n\n)?^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SITE = "mysite.api_urls"
# What the examples leave out because another one on the page imports it, or every developer knows it.
IMPORTED: dict[str, object] = {
    "APIView": APIView,
    "AppConfig": AppConfig,
    "EnteredGuild": EnteredGuild,
    "GuildRequest": GuildRequest,
    "HttpRequest": HttpRequest,
    "HttpResponse": HttpResponse,
    "User": User,
    "_": gettext_lazy,
    "guild_id": 1,
    "guild_required": guild_required,
    "include": include,
    "models": models,
    "path": path,
    "timedelta": timedelta,
    "timezone": timezone,
}

Run = Callable[..., SimpleNamespace]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, db: None) -> Iterator[Run]:
    """A function that runs all examples of a page with these names, and returns what they define."""
    monkeypatch.setattr(hooks, "registered", {})
    monkeypatch.setitem(sys.modules, SITE, ModuleType(SITE))
    monkeypatch.setattr(sys.modules[SITE], "urlpatterns", [], raising=False)

    def run(page: str, **more: object) -> SimpleNamespace:
        text = (DOCS / f"{page}.md").read_text()
        names = {**IMPORTED, **more, "__name__": "guilds.of_the_docs"}
        for example in EXAMPLE.finditer(text):
            if example[1] is None:
                # With the page and the line, for the traceback.
                blank = "\n" * (text[: example.start(2)].count("\n"))
                exec(compile(blank + example[2], f"docs/{page}.md", "exec"), names)
        return SimpleNamespace(**names)

    with isolate_apps("guilds"):
        yield run


def test_the_examples_about_roles_run(run: Run) -> None:
    shown = run("roles")

    now = timezone.now()
    ends = {"never": None, "past": now - timedelta(minutes=1), "future": now + timedelta(minutes=1)}
    members = {name: SimpleNamespace(timed_out_until=until) for name, until in ends.items()}
    admitted = {name: shown.is_not_timed_out(None, SimpleNamespace(member=member)) for name, member in members.items()}
    assert admitted == {"never": True, "past": True, "future": False}
    assert shown.rules.open_to_all is True


def test_the_examples_about_your_pages_run(run: Run, sandbox: Sandbox, sign_up: Callable[..., User]) -> None:
    shown = run("your-pages")

    sandbox.person("eve", guilds=[{"id": "1", "owner": True}, {"id": "2", "permissions": "0"}])
    eve = sign_up("eve")
    assert [shown.may_ban(eve.discord_id, guild_id) for guild_id in (1, 2, 3)] == ["Yes.", "No.", "No."]
    assert shown.may_ban(0, 1) == "You have never signed in on our site."
    call_command(shown.Command())
    assert JobRun.objects.get().succeeded
    assert [(page.view, page.state(None)) for page in shown.PAGES] == [("tickets:list", "3 open")]
    assert shown.Greeting(guild_id=1, channel_id=2).channel_id == 2
    assert list(hooks.registered) == [hooks.SIGN_IN_HOOKS]


def test_the_example_of_a_hook_says_who_came_and_who_no_longer_manages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Its import registers the hook, which would be called in other tests.
    monkeypatch.setattr(hooks, "registered", {})
    greet = import_module("examples.doors.hooks").greet
    manages = Rights(owner=True, permissions=0)
    change = MembershipChange(
        user_id=7,
        at=timezone.now(),
        joined=(1,),
        left=(2,),
        permissions=(),
        before={2: manages},
        after={1: manages},
    )

    greet(change)
    greet(replace(change, is_first=True))

    assert capsys.readouterr().out.splitlines() == [
        "Welcome to 1, person 7!",
        "Person 7 no longer manages 2, or left it.",
    ]


def test_the_examples_about_tests_run(run: Run, sandbox: Sandbox, bot_synced: None) -> None:
    run("testing", sandbox=sandbox, call_command=call_command)

    assert BotGuild.objects.get(pk=1).name == "Chess"


@pytest.mark.parametrize("page", ["privacy", "pages"])
def test_the_examples_of_other_pages_run(page: str, run: Run) -> None:
    run(page)
