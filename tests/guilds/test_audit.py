"""Every change that an operator makes is one event in the log: in the admin, with all its actions, and by commands."""

from collections.abc import Callable
from typing import Any

import pytest
import structlog
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command, get_commands, load_command_class
from django.db import transaction
from django.test import Client, RequestFactory
from pytest_django import Settings

from accounts import access_tokens, audit, gate, service_tokens
from accounts.models import DiscordGate, ServiceToken, User
from accounts.token_scopes import Scope
from guilds.management.operator import OperatorCommand
from guilds.operations.jobs import JobCommand
from tests.fixtures import Sandbox
from tests.guilds.test_admin import shut_gate


@pytest.fixture
def root(transactional_db: None) -> User:
    return User.objects.create_superuser(username="root", password="only for tests")


@pytest.fixture
def operator(root: User) -> Client:
    client = Client()
    client.force_login(root, backend="guilds.backends.PasswordBackend")
    return client


def told(act: Callable[[], object]) -> list[dict[str, Any]]:
    """Return the events about operators that `act` causes, without what every line has."""
    with structlog.testing.capture_logs() as lines:
        act()
    return [
        {name: value for name, value in line.items() if name not in ("event", "log_level")}
        for line in lines
        if line["event"] == "operator_acted"
    ]


def test_what_an_operator_adds_changes_and_deletes_is_told_without_names(operator: Client, root: User) -> None:
    form = {"name": "Moderators", "permissions": [Permission.objects.all()[0].pk]}
    url = "/admin/auth/group/"
    by = {"by": f"user {root.pk}", "via": "admin", "object": "auth.group"}

    [added] = told(lambda: operator.post(f"{url}add/", form))
    group = str(Group.objects.get().pk)
    [changed] = told(lambda: operator.post(f"{url}{group}/change/", {"name": "Helpers"}))
    [deleted] = told(lambda: operator.post(f"{url}{group}/delete/", {"post": "yes"}))

    assert added == {**by, "action": "added", "object_id": group, "details": []}
    assert changed == {**by, "action": "changed", "object_id": group, "details": ["changed Name, Permissions"]}
    assert deleted == {**by, "action": "deleted", "object_id": group, "details": []}


def test_rights_that_are_granted_are_told(operator: Client, root: User) -> None:
    ada = User.objects.create_user(username="ada")

    form = {"username": "ada", "is_active": "on", "is_staff": "on"}
    [line] = told(lambda: operator.post(f"/admin/accounts/user/{ada.pk}/change/", form))

    assert (line["object"], line["object_id"]) == ("accounts.user", str(ada.pk))
    assert line["details"] == ["changed Staff status"]


def test_a_password_that_an_operator_sets_is_told_and_not_shown(operator: Client, root: User) -> None:
    ada = User.objects.create_user(username="ada", password="the one before")
    password = "correct horse battery staple"
    form = {"password1": password, "password2": password, "usable_password": "true"}

    [line] = told(lambda: operator.post(f"/admin/accounts/user/{ada.pk}/password/", form))

    assert line["object_id"] == str(ada.pk)
    assert "assword" in line["details"][0]
    assert password not in str(line)


def test_several_rows_deleted_at_once_are_an_event_each(operator: Client) -> None:
    groups = [Group.objects.create(name=name).pk for name in ("one", "two", "three")]
    form = {"action": "delete_selected", "_selected_action": groups, "post": "yes"}

    lines = told(lambda: operator.post("/admin/auth/group/", form))

    assert sorted(line["object_id"] for line in lines) == sorted(map(str, groups))
    assert {line["action"] for line in lines} == {"deleted"}


def test_a_change_that_is_rolled_back_is_not_told(root: User) -> None:
    def undo() -> None:
        with transaction.atomic():
            audit.record(root, [root], CHANGE, "something")
            transaction.set_rollback(True)

    assert told(undo) == []


def test_every_registered_admin_is_audited_also_a_plain_one_of_an_app() -> None:
    site = audit.AuditedSite()
    site.register(Group)

    assert isinstance(site._registry[Group], audit.Audited)
    assert {type(each) for each in admin.site._registry.values() if not isinstance(each, audit.Audited)} == set()


# actions of the admin, apart from Django's own

# How to run each action, by its name: the rows to choose and the form.
Chosen = Callable[[User], Any]
ACTIONS: dict[str, Chosen] = {
    "verify_again": lambda person: person,
    "forget": lambda person: person,
    "open_gate": lambda _person: DiscordGate.objects.get(),
}


def actions_of(model_admin: Any, root: User) -> list[str]:
    request = RequestFactory().get("/")
    request.user = root
    return [name for name in model_admin.get_actions(request) if name != "delete_selected"]


def test_every_action_of_every_list_is_one_event(
    operator: Client, root: User, with_list: Callable[..., User], sandbox: Sandbox
) -> None:
    tried = set()
    for model, model_admin in admin.site._registry.items():
        for name in actions_of(model_admin, root):
            # Another one for each: a forgotten person's tokens are revoked in the background.
            name_of_person = f"person{len(tried)}"
            sandbox.person(name_of_person, guilds=[])
            person = with_list(name_of_person, hours=5)
            shut_gate(minutes=5) if name == "open_gate" else gate.open_gate(by="a test")
            chosen = ACTIONS[name](person)
            url = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
            form = {"action": name, "_selected_action": [chosen.pk], "confirmed": "yes"}

            [line] = told(lambda url=url, form=form: operator.post(url, form))  # type: ignore[misc]  # its default values

            tried.add((model._meta.model_name, name))
            assert (line["by"], line["via"]) == (f"user {root.pk}", "admin")
            assert (line["object"], line["object_id"]) == (chosen._meta.label_lower, str(chosen.pk))
            assert line["details"]
    assert {name for _model, name in tried} == set(ACTIONS)


def test_asking_back_is_not_told(operator: Client, with_list: Callable[..., User]) -> None:
    ada = with_list("ada")
    form = {"action": "forget", "_selected_action": [ada.pk]}

    assert told(lambda: operator.post("/admin/accounts/user/", form)) == []
    assert not LogEntry.objects.exists()


def test_a_service_token_is_told_and_not_shown(operator: Client) -> None:
    form = {"name": "bot", "scopes": [Scope.BOT_READ]}

    [line] = told(lambda: operator.post("/admin/accounts/servicetoken/add/", form))

    assert (line["action"], line["object"]) == ("added", "accounts.servicetoken")
    assert line["object_id"] == str(ServiceToken.objects.get().pk)
    assert service_tokens.PREFIX not in str(line)
    assert access_tokens.PREFIX not in str(line)


# commands

# Commands that change nothing of an operator's choosing: they only report, or prepare what a release needs.
REPORTS = {"crontab", "discord_status", "doctor", "migrate", "refresh_due_lists", "runserver"}


def token_to_revoke() -> None:
    service_tokens.create("bot", [Scope.BOT_READ], by="a test")


def other_issuer() -> None:
    gate.read()
    DiscordGate.objects.update(issuer="https://elsewhere.example/api")


# What must be there, and how each command is called to change something.
Case = tuple[Callable[[], object], tuple[str, ...], tuple[str, str | None]]
COMMANDS: dict[str, Case] = {
    "after_restore": (lambda: None, ("--no-deletions",), ("changed", None)),
    "change_issuer": (other_issuer, ("--keep",), ("changed", "accounts.discordgate")),
    "changepassword": (lambda: None, ("root",), ("changed", "accounts.user")),
    "create_token": (lambda: None, ("bot", "--scope", Scope.BOT_READ), ("added", "accounts.servicetoken")),
    "createsuperuser": (lambda: None, ("--no-input", "--username", "new"), ("added", "accounts.user")),
    "keys": (lambda: None, ("--reseal",), ("changed", None)),
    "open_gate": (lambda: shut_gate(minutes=5), (), ("changed", "accounts.discordgate")),
    "service_tokens": (token_to_revoke, ("--revoke", "TOKEN"), ("deleted", "accounts.servicetoken")),
}


def test_every_command_is_a_report_a_job_or_told() -> None:
    commands = {name: load_command_class(app, name) for name, app in get_commands().items() if app == "guilds"}
    told_of = {name for name, command in commands.items() if isinstance(command, OperatorCommand)}
    jobs = {name for name, command in commands.items() if isinstance(command, JobCommand)}

    assert told_of == set(COMMANDS)
    assert set(commands) - told_of - jobs == REPORTS


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_tells_what_it_changed(
    name: str, root: User, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, arguments, (action, kind) = COMMANDS[name]
    password = "correct horse battery staple"
    monkeypatch.setattr("getpass.getpass", lambda **_: password)
    prepare()
    known = [str(ServiceToken.objects.get().pk) if each == "TOKEN" else each for each in arguments]

    lines = told(lambda: call_command(name, *known))

    assert lines
    for line in lines:
        assert (line["action"], line["object"], line["via"]) == (action, kind, name)
        assert (line["object_id"] is None) == (kind is None)
        assert line["by"].startswith("manage.py as ")
        assert password not in str(line)
        assert service_tokens.PREFIX not in str(line)
