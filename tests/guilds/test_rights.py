"""What operators can do to other accounts, and what remains of an account in the admin's log."""

from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test import Client

from accounts import access_tokens, audit
from accounts.models import PersonalAccessToken, User
from accounts.token_scopes import Scope
from guilds import personal_data
from guilds.middleware import SignedInMiddleware

pytestmark = pytest.mark.django_db

USERS = "/admin/accounts/user/"
TOKENS = "/admin/accounts/personalaccesstoken/"
GROUPS = "/admin/auth/group/"
OPERATOR = ("view_user", "add_user", "change_user", "delete_user", "delete_personalaccesstoken", "change_group")


def account(name: str, *permissions: str, **fields: Any) -> User:
    user = User.objects.create_user(username=name, is_staff=True, **fields)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


@pytest.fixture
def operator() -> User:
    return account("operator", *OPERATOR, "view_personalaccesstoken", "view_group")


@pytest.fixture
def browser(operator: User) -> Client:
    return browser_of(operator)


def browser_of(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="guilds.backends.PasswordBackend")
    return client


def superior(kind: str) -> User:
    """An account with rights that the operator lacks."""
    if kind == "permission":
        return account("superior", "change_discordgate")
    if kind == "group":
        group = Group.objects.create(name="gatekeepers")
        group.permissions.set(Permission.objects.filter(codename="change_discordgate"))
        user = account("superior")
        user.groups.add(group)
        return user
    return account("superior", is_superuser=True, is_active=kind == "superuser")


def forget(browser: Client, *users: User) -> Any:
    form = {"action": "forget", "_selected_action": [user.pk for user in users], "confirmed": "yes"}
    return browser.post(USERS, form, follow=True)


KINDS = ["superuser", "inactive superuser", "permission", "group"]


@pytest.mark.parametrize("kind", KINDS)
def test_no_operator_changes_or_deletes_an_account_with_more_rights(browser: Client, kind: str) -> None:
    person, equal = superior(kind), account("equal", "delete_user")
    token, _ = access_tokens.create(person, "backup", [Scope.ME_READ], timedelta(days=1))

    page = forget(browser, person, equal)
    responses = [
        browser.post(f"{USERS}{person.pk}/change/", {"username": "taken"}),
        browser.post(f"{USERS}{person.pk}/password/", {"password1": "9b1deb4d", "password2": "9b1deb4d"}),
        browser.post(f"{TOKENS}{token.pk}/delete/", {"post": "yes"}),
        browser.post(TOKENS, {"action": "delete_selected", "_selected_action": [token.pk], "post": "yes"}),
    ]

    assert "rights that you don&#x27;t have" in page.content.decode()
    assert {response.status_code for response in responses} == {403}
    person.refresh_from_db()
    assert (person.username, person.has_usable_password()) == ("superior", False)
    assert PersonalAccessToken.objects.filter(pk=token.pk).exists()
    assert not User.objects.filter(pk=equal.pk).exists()


def test_only_superusers_change_rights(browser: Client, operator: User) -> None:
    ada, group = User.objects.create_user(username="ada"), Group.objects.create(name="helpers")
    rights = {"is_staff": "on", "is_superuser": "on", "groups": [group.pk], "user_permissions": [1]}

    for user in (ada, operator):
        browser.post(f"{USERS}{user.pk}/change/", {"username": user.username, "is_active": "on", **rights})
    response = browser.post(f"{GROUPS}{group.pk}/change/", {"name": "helpers", "permissions": [1]})

    ada.refresh_from_db()
    operator.refresh_from_db()
    assert (ada.is_staff, ada.is_superuser, operator.is_superuser) == (False, False, False)
    assert response.status_code == 403
    assert not group.permissions.exists()
    assert not User.groups.through.objects.exists()

    root = browser_of(account("root", is_superuser=True))
    root.post(f"{USERS}{ada.pk}/change/", {"username": "ada", "is_active": "on", **rights})
    ada.refresh_from_db()
    assert (ada.is_staff, ada.is_superuser, ada.groups.get()) == (True, True, group)


def test_a_superuser_keeps_their_own_rights() -> None:
    root = account("root", is_superuser=True)

    browser_of(root).post(f"{USERS}{root.pk}/change/", {"username": "root"})

    root.refresh_from_db()
    assert (root.is_active, root.is_superuser) == (True, True)


def test_the_last_superuser_cannot_delete_their_account(client_of: Callable[[User], Client]) -> None:
    root = account("root", is_superuser=True)
    account("away", is_superuser=True, is_active=False)

    page = client_of(root).post("/servers/delete-my-data/", follow=True)

    assert "only superuser" in page.content.decode()
    assert User.objects.filter(pk=root.pk).exists()

    account("second", is_superuser=True)
    client_of(root).post("/servers/delete-my-data/")
    assert not User.objects.filter(pk=root.pk).exists()


def read_earlier(user: User, monkeypatch: pytest.MonkeyPatch) -> Client:
    """A browser whose requests have read the person before what the test does to them."""
    monkeypatch.setattr(SignedInMiddleware, "_unless_too_late", lambda *_: user)
    return browser_of(user)


@pytest.fixture
def other_root(monkeypatch: pytest.MonkeyPatch) -> tuple[User, Client]:
    """The last superuser, and the browser of another one whom they have just demoted."""
    first, second = account("first", is_superuser=True), account("second", is_superuser=True)
    browser = read_earlier(second, monkeypatch)
    User.objects.filter(pk=second.pk).update(is_superuser=False)
    return first, browser


def test_of_two_superusers_who_delete_each_other_at_once_one_stays(other_root: tuple[User, Client]) -> None:
    first, browser = other_root

    page = forget(browser, first)

    assert "only superuser" in page.content.decode()
    assert User.objects.filter(pk=first.pk).exists()


@pytest.mark.parametrize("kept", [{"is_active": "on"}, {"is_superuser": "on"}])
def test_of_two_superusers_who_demote_each_other_at_once_one_stays(
    other_root: tuple[User, Client], kept: dict[str, str]
) -> None:
    first, browser = other_root

    page = browser.post(f"{USERS}{first.pk}/change/", {"username": "first", "is_staff": "on", **kept})

    assert "only superuser" in page.content.decode()
    first.refresh_from_db()
    assert (first.is_active, first.is_superuser) == (True, True)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["/account/tokens/", USERS])
def test_who_is_deleted_during_a_request_has_to_sign_in_again(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    ada, operator = User.objects.create_user(username="ada"), account("operator", is_superuser=True)
    account("root", is_superuser=True)
    browser = read_earlier(operator, monkeypatch)
    User.objects.get(pk=operator.pk).delete()
    forms = {
        "/account/tokens/": {"name": "backup", "scopes": ["me:read"], "days": 7},
        USERS: {"action": "forget", "_selected_action": [ada.pk], "confirmed": "yes"},
    }

    page = browser.post(path, forms[path])

    assert page.status_code == 403
    assert "/login/discord/" in page.content.decode()
    assert User.objects.filter(pk=ada.pk).exists()


# the admin's log


def test_an_entry_outlives_its_author(browser: Client, operator: User) -> None:
    ada = User.objects.create_user(username="ada")
    browser.post(f"{USERS}{ada.pk}/change/", {"username": "ada", "is_active": "on"})

    personal_data.forget_user(operator)

    entry = LogEntry.objects.get()
    name = f"[user {operator.pk}]"
    assert (entry.action_flag, entry.object_repr, entry.user.username) == (CHANGE, f"user {ada.pk}", name)
    assert not entry.user.is_active
    assert not entry.user.has_usable_password()
    root = browser_of(account("root", is_superuser=True))
    assert name in root.get(f"{USERS}{ada.pk}/history/").content.decode()
    assert name not in root.get(USERS).content.decode()
    assert root.get(f"{USERS}{entry.user.pk}/change/").status_code == 302


def test_an_account_that_logged_nothing_leaves_no_tombstone(operator: User) -> None:
    User.objects.all().delete()

    assert not User.objects.exists()


def test_what_happens_to_a_token_is_logged_without_names(browser: Client) -> None:
    ada = User.objects.create_user(username="ada")
    pks = [
        access_tokens.create(ada, name, [Scope.ME_READ], timedelta(days=1))[0].pk for name in ("one", "two", "three")
    ]

    browser.post(f"{TOKENS}{pks[0]}/delete/", {"post": "yes"})
    browser.post(TOKENS, {"action": "delete_selected", "_selected_action": pks[1:], "post": "yes"})

    entries = LogEntry.objects.values_list("action_flag", "object_repr")
    assert sorted(entries) == sorted((DELETION, f"personalaccesstoken {pk} of user {ada.pk}") for pk in pks)


def test_the_migration_takes_names_out_of_earlier_entries(operator: User) -> None:
    for model, pk in ((User, 7), (PersonalAccessToken, 8), (Group, 9)):
        kind = ContentType.objects.get_for_model(model)
        LogEntry.objects.create(
            user=operator, content_type=kind, object_id=str(pk), object_repr="Ada", action_flag=CHANGE
        )

    migration = import_module("accounts.migrations.0008_audit_by_number")
    migration.remove_names(apps, connection.schema_editor())

    names = LogEntry.objects.order_by("pk").values_list("object_repr", flat=True)
    assert list(names) == ["user 7", "personalaccesstoken 8", "Ada"]


def test_forms_refuse_the_name_of_a_tombstone(browser: Client) -> None:
    form = {"username": f"{audit.PREFIX}1]", "usable_password": "false"}

    assert browser.post(f"{USERS}add/", form).status_code == 200
    assert User.objects.count() == 1
