"""The admin: viewing a page never sends a request to Discord and never shows a token."""

import html
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import flatten_fieldsets, label_for_field
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import F
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.functional import Promise
from pytest_django import Settings

from accounts import access_tokens, allowance, gate, service_tokens
from accounts.admin.kit import BoundedPaginator, ReadOnlyAdmin
from accounts.clock import database_now
from accounts.models import (
    DiscordAccount,
    DiscordAllowance,
    DiscordGate,
    DiscordRefusal,
    PersonalAccessToken,
    ServiceToken,
    User,
)
from accounts.token_scopes import Scope
from guilds import services
from guilds.admin.records import RecordAdmin
from guilds.models import (
    BotGuild,
    DoctorReport,
    GuildDirectory,
    GuildListVerification,
    GuildMember,
    JobRun,
    RefreshLease,
    ServingMinute,
    UserGuildMembership,
)
from tests.fixtures import Sandbox, end_jobs, let_pass

WithList = Callable[..., User]

MEMBERSHIPS = "/admin/guilds/userguildmembership/"
VERIFICATIONS = "/admin/guilds/guildlistverification/"
ACCOUNTS = "/admin/accounts/discordaccount/"
GATE = "/admin/accounts/discordgate/"
REFUSALS = "/admin/accounts/discordrefusal/"
LEASES = "/admin/guilds/refreshlease/"
USERS = "/admin/accounts/user/"
TOKENS = "/admin/accounts/personalaccesstoken/"
GUILDS = "/admin/guilds/botguild/"
MEMBERS = "/admin/guilds/guildmember/"
DIRECTORIES = "/admin/guilds/guilddirectory/"
ALLOWANCES = "/admin/accounts/discordallowance/"
SERVICES = "/admin/accounts/servicetoken/"
READ_ONLY = [MEMBERSHIPS, VERIFICATIONS, ACCOUNTS, GATE, REFUSALS, LEASES, GUILDS, MEMBERS, DIRECTORIES, ALLOWANCES]
MODELS = {
    MEMBERSHIPS: UserGuildMembership,
    VERIFICATIONS: GuildListVerification,
    ACCOUNTS: DiscordAccount,
    GATE: DiscordGate,
    REFUSALS: DiscordRefusal,
    LEASES: RefreshLease,
    USERS: User,
    TOKENS: PersonalAccessToken,
    GUILDS: BotGuild,
    MEMBERS: GuildMember,
    DIRECTORIES: GuildDirectory,
    ALLOWANCES: DiscordAllowance,
    SERVICES: ServiceToken,
}
LISTS = list(MODELS)
OF_PEOPLE = [VERIFICATIONS, MEMBERSHIPS, ACCOUNTS, TOKENS, LEASES, USERS]
FRONT = ["/admin/", "/admin/guilds/servingminute/"]


@pytest.fixture
def operator(transactional_db: None) -> Client:
    root = User.objects.create_superuser(username="root", password="only for tests")
    client = Client()
    client.force_login(root, backend="guilds.backends.PasswordBackend")
    return client


@pytest.fixture
def rows(with_list: WithList, sandbox: Sandbox) -> User:
    """Ada with a stale list and a lease, an open gate and a refusal; the sandbox fails and its journal is empty."""
    ada = with_list("ada", hours=5)
    now = database_now()
    GuildListVerification.objects.update(lease_until=now + timedelta(seconds=10))
    DiscordRefusal.objects.create(status=401, at=now)
    BotGuild.objects.create(pk=41771983423143937, name="Lisbon Board Gamers", first_seen_at=now, verified_at=now)
    GuildMember.objects.create(user=ada, guild_id=41771983423143937, is_member=True, roles=[5, 7], verified_at=now)
    role = {"id": 5, "name": "Staff", "color": 0, "position": 1, "permissions": 0, "managed": False}
    GuildDirectory.objects.create(guild_id=41771983423143937, roles=[role], verified_at=now)
    DiscordAllowance.objects.create(kind="member", owner=ada.pk, sent=5, window_ends_at=now + timedelta(seconds=200))
    DiscordAllowance.objects.create(kind="bot_member", owner=41771983423143937)
    access_tokens.create(ada, "backup", [Scope.GUILDS_READ], timedelta(days=1))
    service_tokens.create("bot", [Scope.BOT_READ], by="a test")
    sandbox.mood("outage")
    sandbox.forget_requests()
    return ada


def words_of(response: Any) -> str:
    return html.unescape(response.content.decode())


def detail_of(changelist: str) -> str:
    return f"{changelist}{MODELS[changelist]._default_manager.values_list('pk', flat=True)[0]}/change/"


def found_on(response: Any) -> list[Any]:
    return list(response.context["cl"].result_list)


@dataclass
class Seen:
    """The pages of the admin with `rows`, as one operator loaded them, and the queries of its lists."""

    ada: User
    secrets: list[str]
    pages: dict[str, Any] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    queries: dict[str, list[str]] = field(default_factory=dict)

    def __getitem__(self, url: str) -> str:
        return words_of(self.pages[url])

    def links(self, changelist: str) -> set[tuple[str, str]]:
        """The links to other rows of a person on the page, each with its words."""
        return set(re.findall(r'<a href="(/admin/[^"]+)">(person|account|list|servers|tokens)</a>', self[changelist]))


def look(operator: Client, ada: User) -> Seen:
    """Load every list with a search, its first row's page and history, and what the lists of people link to."""
    GuildListVerification.objects.update(not_before=database_now() + timedelta(hours=1))
    stored = DiscordAccount.objects.get(user=ada).extra_data
    digests = PersonalAccessToken.objects.get().digest, ServiceToken.objects.get().digest
    seen = Seen(ada, secrets=[stored["access_token"], stored["refresh_token"], "gAAAA", *digests])
    for changelist in LISTS:
        with CaptureQueriesContext(connection) as queries:
            seen.pages[changelist] = operator.get(changelist)
        seen.queries[changelist] = [query["sql"] for query in queries]
        seen.details[changelist] = detail = detail_of(changelist)
        for page in (detail, detail.replace("change/", "history/"), f"{changelist}?q=ada"):
            seen.pages[page] = operator.get(page, follow=True)
    linked = {url for changelist in OF_PEOPLE for url, _words in seen.links(changelist) if is_about(ada, url)}
    for page in {*FRONT, *linked} - set(seen.pages):
        seen.pages[page] = operator.get(page)
    return seen


def is_about(person: User, url: str) -> bool:
    return bool(re.search(rf"\b{person.pk}\b", url))


@pytest.fixture(scope="module")
def looks() -> list[Seen]:
    return []


@pytest.fixture
def seen(request: pytest.FixtureRequest, db: None, looks: list[Seen]) -> Seen:
    """The pages, loaded once for all tests that only look at them, because rendering takes most of the time."""
    if not looks:
        looks.append(look(*(request.getfixturevalue(name) for name in ("operator", "rows"))))
    return looks[0]


def choose(operator: Client, *people: int) -> Any:
    return operator.post(VERIFICATIONS, {"action": "verify_again", "_selected_action": people}, follow=True)


def counts_of(operator: Client, changelist: str, *wanted: str) -> dict[str, int]:
    return {words: len(found_on(operator.get(changelist, {"q": words}))) for words in wanted}


def test_members_are_found_by_person_or_server(operator: Client, rows: User) -> None:
    counts = {"ada": 1, "41771983423143937": 1, "41771983423143938": 0, "linus": 0}

    assert counts_of(operator, MEMBERS, *counts) == counts


def test_a_member_shows_the_servers_name_beside_its_id(operator: Client, rows: User) -> None:
    unknown = GuildMember.objects.create(user=rows, guild_id=2)
    shown = [words_of(operator.get(page)) for page in (MEMBERS, detail_of(MEMBERS))]

    assert all("<bdi>Lisbon Board Gamers</bdi> (41771983423143937)</a>" in page for page in shown)
    assert f'guild_id={unknown.guild_id}">{unknown.guild_id}</a>' in shown[0]


def test_a_member_shows_the_servers_name_in_the_persons_list_where_the_bot_is_not(operator: Client, rows: User) -> None:
    listed = UserGuildMembership.objects.filter(user=rows).order_by("pk")[0]
    GuildMember.objects.update(guild_id=listed.guild_id)

    assert f"<bdi>{listed.name}</bdi> ({listed.guild_id})</a>" in words_of(operator.get(MEMBERS))


def test_directories_are_found_by_the_servers_name_or_id(operator: Client, rows: User) -> None:
    counts = {"lisbon": 1, "41771983423143937": 1, "": 1, "1": 0, "x": 0}

    assert counts_of(operator, DIRECTORIES, *counts) == counts


def test_a_directory_shows_its_server_and_the_names_of_its_roles(seen: Seen) -> None:
    shown = seen[seen.details[DIRECTORIES]]

    assert "<bdi>Lisbon Board Gamers</bdi>" in shown
    assert "<bdi>Staff</bdi> (5)" in shown


def test_allowances_are_found_by_person_or_server(operator: Client, rows: User) -> None:
    for wanted, found in (("ada", "member"), ("41771983423143937", "bot_member")):
        assert [row.kind for row in found_on(operator.get(f"{ALLOWANCES}?q={wanted}"))] == [found]


def test_an_allowance_says_whether_it_is_used_up(seen: Seen) -> None:
    shown = seen[ALLOWANCES]

    assert "used up for another " in shown
    assert f'<a href="/admin/accounts/user/{seen.ada.pk}/change/">person {seen.ada.pk}</a>' in shown
    assert ">open<" in shown


@pytest.mark.parametrize(
    ("kind", "title"),
    [
        (allowance.MEMBER, "Roles of person 2"),
        (allowance.BOT_MEMBER, "Members of server 2"),
        (allowance.BOT_DIRECTORY, "Roles and channels of server 2"),
    ],
)
def test_an_allowances_title_is_in_words(operator: Client, kind: str, title: str) -> None:
    row = DiscordAllowance.objects.create(kind=kind, owner=2)

    assert f"<h2>{title}</h2>" in words_of(operator.get(f"{ALLOWANCES}{row.pk}/change/"))


# looking


def test_every_page_opens(seen: Seen) -> None:
    assert {url: page.status_code for url, page in seen.pages.items() if page.status_code != 200} == {}


def test_looking_never_asks_discord(operator: Client, rows: User, sandbox: Sandbox) -> None:
    """Although all that is stored is due, and nothing says that Discord must not be asked yet."""
    GuildListVerification.objects.update(lease_until=None)
    let_pass(hours=5)

    for changelist in LISTS:
        operator.get(changelist)
        operator.get(detail_of(changelist))
    end_jobs()

    assert sandbox.requests("") == []


def test_what_only_the_site_writes_is_read_only(operator: Client, rows: User) -> None:
    for changelist in READ_ONLY:
        detail = detail_of(changelist)
        model = MODELS[changelist]
        before = list(model._default_manager.values())

        answers = [
            operator.get(f"{changelist}add/"),
            operator.post(f"{changelist}add/", {}),
            operator.post(detail, {"name": "changed"}),
            operator.get(detail.replace("change/", "delete/")),
            operator.post(detail.replace("change/", "delete/"), {"post": "yes"}),
        ]
        operator.post(
            changelist, {"action": "delete_selected", "_selected_action": [before[0].get("id", 1)], "post": "yes"}
        )

        assert [answer.status_code for answer in answers] == [403] * 5, changelist
        assert list(model._default_manager.values()) == before


@pytest.mark.parametrize("changelist", READ_ONLY)
def test_what_only_the_site_writes_has_no_save_button(seen: Seen, changelist: str) -> None:
    assert 'name="_save"' not in seen[seen.details[changelist]]


def test_no_page_of_the_admin_shows_a_token(seen: Seen) -> None:
    for url in seen.pages:
        assert not [secret for secret in seen.secrets if secret in seen[url]], url


@pytest.mark.parametrize("model", ["usersocialauth", "nonce", "association"])
def test_the_pages_of_social_auth_are_gone(operator: Client, model: str) -> None:
    assert operator.get(f"/admin/social_django/{model}/").status_code == 404


def test_nobody_can_filter_by_a_token(operator: Client, rows: User) -> None:
    pages = [
        *(f"{ACCOUNTS}?{query}" for query in ("extra_data__regex=^gAAAA", "extra_data__startswith=g", "extra_data=x")),
        f"{TOKENS}?digest__startswith=0",
        f"{SERVICES}?digest__startswith=0",
        f"{VERIFICATIONS}?user__discord_account__extra_data__startswith=g",
        f"{MEMBERSHIPS}?user__personal_access_tokens__digest__startswith=0",
        f"{USERS}?password__startswith=p",
    ]

    assert {page: operator.get(page).status_code for page in pages} == dict.fromkeys(pages, 400)


def test_a_person_is_no_operator(ada: User, client_of: Callable[[User], Client]) -> None:
    browser = client_of(ada)

    for page in ("/admin/", MEMBERSHIPS, VERIFICATIONS):
        response = browser.get(page)
        assert response.status_code == 302
        assert response["Location"].startswith("/admin/login/")


def test_the_door_for_operators_takes_a_password(transactional_db: None) -> None:
    User.objects.create_superuser(username="root", password="only for tests")
    client = Client()

    response = client.post("/admin/login/?next=/admin/", {"username": "root", "password": "only for tests"})

    assert (response.status_code, response["Location"]) == (302, "/admin/")
    assert client.get("/admin/").status_code == 200


def login_page(client: Client) -> str:
    return " ".join(words_of(client.get("/admin/", follow=True)).split())


def test_operators_can_come_in_with_discord(db: None) -> None:
    page = login_page(Client())

    form = re.search(r'<form method="post" action="([^"]+)"\s*>(.*?)</form>', page)
    assert form
    assert form[1] == reverse("social:begin", args=["discord"])
    assert '<input type="hidden" name="next" value="/admin/">' in form[2]
    assert "Sign in with Discord" in form[2]


def test_a_person_without_rights_reads_why_they_are_not_let_in(ada: User, client_of: Callable[[User], Client]) -> None:
    page = login_page(client_of(ada))

    assert "You don't have access to the admin" in page
    assert f"signed in as <bdi>{ada.display_name}</bdi>. This account isn't a staff account." in page
    assert ada.username not in page
    assert 'name="password"' in page


def test_a_person_cannot_be_deleted_here(operator: Client, ada: User) -> None:
    response = operator.post(f"{USERS}{ada.pk}/delete/", {"post": "yes"})

    assert response.status_code == 403
    assert User.objects.filter(pk=ada.pk).exists()


def test_shutting_a_person_out_ends_their_visit(
    operator: Client, with_list: WithList, client_of: Callable[[User], Client]
) -> None:
    ada = with_list("ada")
    client = client_of(ada)

    response = operator.post(f"{USERS}{ada.pk}/change/", {"username": ada.username})

    assert response.status_code == 302, words_of(response)
    assert not User.objects.get(pk=ada.pk).is_active
    assert client.get("/servers/").status_code == 302


def test_the_list_of_memberships_costs_the_same_for_one_and_for_two_hundred(
    operator: Client, with_list: WithList
) -> None:
    with_list("linus")
    operator.get(MEMBERSHIPS)
    with CaptureQueriesContext(
        connection,
    ) as few:
        operator.get(MEMBERSHIPS)
    with_list("grace")

    with CaptureQueriesContext(connection) as many:
        response = operator.get(MEMBERSHIPS)

    assert response.context["cl"].result_count == 201
    assert len(many) == len(few)


def test_the_list_of_verifications_costs_the_same_for_one_and_for_many(operator: Client, with_list: WithList) -> None:
    with_list("linus")
    operator.get(VERIFICATIONS)
    with CaptureQueriesContext(connection) as few:
        operator.get(VERIFICATIONS)
    crowd(50)

    with CaptureQueriesContext(connection) as many:
        response = operator.get(VERIFICATIONS)

    assert len(found_on(response)) == 51
    assert len(many) == len(few)


# finding


def test_a_membership_is_found_by_the_servers_name(operator: Client, with_list: WithList) -> None:
    with_list("ada")
    names: dict[str, set[str]] = {
        "lisbon": {"Lisbon Board Gamers"},
        "نادي": {"نادي القراءة العربي"},
        "no such server": set(),
        "9" * 30: set(),
        "²": set(),
    }

    found = {query: found_on(operator.get(MEMBERSHIPS, {"q": query})) for query in names}

    assert {query: {row.name for row in rows} for query, rows in found.items()} == names


def test_a_membership_is_found_by_the_servers_id(operator: Client, with_list: WithList) -> None:
    with_list("ada")
    with_list("linus")
    shared = UserGuildMembership.objects.get(user__discord_username="linus").guild_id

    found = found_on(operator.get(MEMBERSHIPS, {"q": f" {shared} "}))

    assert sorted(row.user.discord_username for row in found) == ["ada", "linus"]


def test_a_person_is_found_by_name_and_by_id_at_discord(operator: Client, with_list: WithList) -> None:
    with_list("ada")
    linus = with_list("linus")

    for changelist in (MEMBERSHIPS, VERIFICATIONS, ACCOUNTS, USERS):
        for query in ("Linus", str(linus.discord_id)):
            found = found_on(operator.get(changelist, {"q": query}))
            assert [getattr(row, "user", row) for row in found] == [linus], (changelist, query)


@pytest.fixture
def people(with_list: WithList, sign_up: WithList) -> dict[str, User]:
    """One person of each freshness."""
    expired = with_list("ada", hours=20)
    stale = with_list("linus", hours=5)
    fresh = with_list("grace", minutes=10)
    never = sign_up("nobody")
    services.relink(never.pk)
    return {"expired": expired, "stale": stale, "fresh": fresh, "none": never}


def test_lists_are_found_by_freshness(operator: Client, people: dict[str, User]) -> None:
    for freshness, user in people.items():
        verifications = operator.get(VERIFICATIONS, {"freshness": freshness})
        memberships = operator.get(MEMBERSHIPS, {"freshness": freshness})

        assert [row.user for row in found_on(verifications)] == [user]
        assert {row.user for row in found_on(memberships)} == ({user} if freshness != "none" else set())
        assert ("never verified" if freshness == "none" else freshness) in words_of(verifications)


@pytest.mark.parametrize(("seconds", "fresh"), [(3590, 1), (3600, 0)])
def test_the_filter_draws_the_line_where_the_site_does(
    operator: Client, with_list: WithList, seconds: int, fresh: int
) -> None:
    with_list("linus", seconds=seconds)

    counts = [len(found_on(operator.get(VERIFICATIONS, {"freshness": kind}))) for kind in ("fresh", "stale")]

    assert counts == [fresh, 1 - fresh]


def test_a_table_of_records_needs_nothing_else_for_its_columns(operator: Client, rows: User) -> None:
    """Not even a person: the mixin works from the columns that every record has."""

    class PlainAdmin(RecordAdmin, ReadOnlyAdmin):
        list_display = ("state", "age", "why", "next_attempt")

    def page(**query: str) -> Any:
        request = RequestFactory().get("/", query)
        request.user = User.objects.get(username="root")
        return PlainAdmin(GuildListVerification, admin.site).changelist_view(request)

    stale, fresh = page(freshness="stale"), page(freshness="fresh")

    assert re.findall(r'class="field-(\w+)[^>]*>(?:<a [^>]*>|<span [^>]*>)*([^<]+)', words_of(stale.render())) == [
        ("state", "stale"),
        ("age", "5\N{NO-BREAK SPACE}hours"),
        ("why", "–"),
        ("next_attempt", "on next visit"),
    ]
    assert list(fresh.context_data["cl"].result_list) == []
    assert [str(each.title) for each in stale.context_data["cl"].filter_specs] == ["state", "reason"]


def test_a_refused_person_stands_out(
    operator: Client, with_list: WithList, client_of: Callable[[User], Client], sandbox: Sandbox
) -> None:
    ada = with_list("ada", hours=5)
    sandbox.mood("unauthorized")
    client_of(ada).get("/servers/")
    end_jobs()

    response = operator.get(VERIFICATIONS, {"reason": "reconnect_required"})

    assert [row.user for row in found_on(response)] == [ada]
    assert ">refused<" in words_of(response)


def test_a_shut_gate_says_why_and_until_when(operator: Client, with_list: WithList) -> None:
    with_list("ada")
    until = database_now() + timedelta(minutes=5)
    DiscordGate.objects.update(streak=2, until=until, reason="global_limit")

    assert "shut (global limit)" in words_of(operator.get(GATE))


# verifying again


def test_verifying_again_asks_once_and_reports(operator: Client, with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada")
    let_pass(seconds=10)

    response = choose(operator, ada.pk)

    verified_at = GuildListVerification.objects.get(pk=ada.pk).verified_at
    assert "Ada: verified." in words_of(response)
    assert len(sandbox.requests()) == 1
    assert verified_at
    assert database_now() - verified_at < timedelta(seconds=5)


def test_verifying_again_asks_for_those_who_were_chosen(
    operator: Client, with_list: WithList, sandbox: Sandbox
) -> None:
    people = [with_list("ada"), with_list("linus")]
    with_list("grace")
    let_pass(seconds=10)
    sandbox.forget_requests()

    response = choose(operator, *(user.pk for user in people))

    assert sorted(re.findall(r"(\w+): verified\.", words_of(response))) == ["Ada", "Linus"]
    assert sorted(line["person"] for line in sandbox.requests()) == ["ada", "linus"]


@pytest.mark.parametrize(
    ("mode", "words"), [("rate_limited", "Discord is rate-limiting"), ("outage", "Discord isn't responding")]
)
def test_verifying_again_in_vain_names_the_wait(
    operator: Client, with_list: WithList, sandbox: Sandbox, mode: str, words: str
) -> None:
    ada = with_list("ada", minutes=10)
    sandbox.mood(mode, **({"retry_after": 45} if mode == "rate_limited" else {}))

    responses = [choose(operator, ada.pk) for _ in range(2)]

    not_before = GuildListVerification.objects.get(pk=ada.pk).not_before
    assert not_before
    for response in responses:
        wait = re.search(rf"Ada: {words}[^<]* Try again in (\d+) seconds\.", words_of(response))
        assert wait
        assert int(wait[1]) >= (not_before - database_now()).total_seconds()
    assert len(sandbox.requests()) == 1
    assert UserGuildMembership.objects.filter(user=ada).count() == 12


def test_verifying_again_reports_a_refusal(
    operator: Client, with_list: WithList, sandbox: Sandbox, settings: Settings
) -> None:
    # As above.
    settings.DISCORD_REFRESH_WAIT_MS = settings.DISCORD_FETCH_BUDGET_MS
    ada = with_list("ada", minutes=10)
    sandbox.mood("unauthorized")

    response = choose(operator, ada.pk)

    assert "Ada: The site's connection to their Discord account has expired or was removed." in words_of(response)
    assert "you" not in words_of(response).partition('class="warning"')[2].partition("</li>")[0]


def test_more_than_twenty_at_once_are_refused(operator: Client, sandbox: Sandbox) -> None:
    people = crowd(21)

    response = choose(operator, *people)

    assert "Select at most 20 people at a time." in words_of(response)
    assert sandbox.requests() == []


def test_people_without_an_account_cost_no_request(operator: Client, sandbox: Sandbox) -> None:
    people = crowd(20)

    response = choose(operator, *people)

    assert words_of(response).count('class="warning"') == 20
    assert sandbox.requests() == []


def crowd(count: int) -> list[int]:
    """Create this many people without a list; return their ids."""
    users = User.objects.bulk_create([User(username=f"one of many {n}") for n in range(count)])
    GuildListVerification.objects.bulk_create([GuildListVerification(user=user) for user in users])
    return [user.pk for user in users]


def test_who_may_only_look_may_not_make_the_site_ask(ada: User, sandbox: Sandbox) -> None:
    reader = User.objects.create_user(username="reader", is_staff=True)
    reader.user_permissions.add(*Permission.objects.filter(codename__startswith="view_"))
    browser = Client()
    browser.force_login(reader, backend="guilds.backends.PasswordBackend")
    sandbox.forget_requests()

    page = browser.get(VERIFICATIONS)
    browser.post(VERIFICATIONS, {"action": "verify_again", "_selected_action": [ada.pk]})

    assert page.status_code == 200
    assert b"verify_again" not in page.content
    assert sandbox.requests() == []


@pytest.mark.parametrize("changelist", [VERIFICATIONS, USERS])
def test_verifying_again_is_on_the_page_of_one_person_too(
    operator: Client, with_list: WithList, sandbox: Sandbox, changelist: str
) -> None:
    ada = with_list("ada")
    with_list("linus")
    let_pass(seconds=10)
    sandbox.forget_requests()

    form = form_on(operator.get(f"{changelist}{ada.pk}/change/"), "verify_again")
    page = operator.post(form["url"], form["fields"], follow=True)

    assert "Ada: verified." in words_of(page)
    assert [getattr(row, "user", row) for row in found_on(page)] == [ada]
    assert [line["person"] for line in sandbox.requests()] == ["ada"]


def form_on(response: Any, action: str) -> dict[str, Any]:
    """The data and address that a browser submits when that button of the page's form is pressed."""
    words = " ".join(words_of(response).split())
    form = re.search(r'<form class="row-actions" method="post" action="([^"]+)">(.*?)</form>', words)
    assert form
    assert f'name="action" value="{action}"' in form[2]
    chosen = re.findall(r'name="_selected_action" value="(\d+)"', form[2])
    return {"url": form[1], "fields": {"action": action, "_selected_action": chosen}}


# the gate, the brake and the leases


def shut_gate(**wait: float) -> None:
    gate.read()
    until = database_now() + timedelta(**wait)
    DiscordGate.objects.update(streak=2, until=until, reason="global_limit", version=F("version") + 1)


def act_on_gate(operator: Client, **form: str) -> Any:
    return operator.post(GATE, {"action": "open_gate", "_selected_action": [1], **form}, follow=True)


def test_a_site_that_never_asked_shows_its_gate_open(operator: Client) -> None:
    response = operator.get(GATE)

    assert len(found_on(response)) == 1
    assert ">open<" in words_of(response)


def test_the_gate_shows_what_is_left(operator: Client) -> None:
    shut_gate(seconds=80)

    assert re.search(r">(7\d|80) seconds<", words_of(operator.get(GATE)))


def test_a_gate_whose_time_is_over_waits_for_its_probe(operator: Client) -> None:
    shut_gate(seconds=-1)

    assert "waiting for the probe (global limit)" in words_of(operator.get(GATE))


def test_opening_the_gate_is_asked_back_first(operator: Client) -> None:
    shut_gate(minutes=5)

    page = act_on_gate(operator)

    assert "Open it only if you know that Discord's limit has ended." in words_of(page)
    assert DiscordGate.objects.get().streak == 2


def test_the_gates_own_page_offers_to_open_it(operator: Client) -> None:
    shut_gate(minutes=5)

    form = form_on(operator.get(f"{GATE}1/change/"), "open_gate")

    assert "Open the gate?" in words_of(operator.post(form["url"], form["fields"]))


def test_an_operator_opens_the_gate_and_it_is_written_down(operator: Client) -> None:
    shut_gate(minutes=5)

    response = act_on_gate(operator, confirmed="yes")

    assert "The gate is open." in words_of(response)
    assert gate.read()[0].shut_until(database_now()) is None
    assert re.fullmatch(
        r"Opened manually\. It was shut \(global_limit\) until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\.",
        LogEntry.objects.get().change_message,
    )


PAGES = ["/admin/", GATE, USERS, "/admin/guilds/servingminute/", "/admin/password_change/"]


def test_every_page_says_that_the_gate_is_shut(operator: Client) -> None:
    for page in PAGES:
        shut_gate(minutes=5)
        strip = strip_of(operator.get(page))
        assert "The gate is shut for another 5 minutes, until " in strip
        assert "(global limit): no requests are sent to Discord." in strip


def test_every_page_says_that_the_brake_is_on(operator: Client, settings: Settings) -> None:
    settings.DISCORD_BRAKE_SOFT = 2
    now = database_now()
    DiscordRefusal.objects.bulk_create(DiscordRefusal(status=401, at=now) for _ in range(2))

    for page in PAGES:
        assert re.search(r"The brake is on for another \d+ minutes: requests .* Until ", strip_of(operator.get(page)))


def test_no_page_warns_while_nothing_stops_requests(operator: Client) -> None:
    shut_gate(seconds=-1)

    for page in PAGES:
        assert strip_of(operator.get(page)) == ""


def test_visitors_without_rights_do_not_see_the_gate(db: None) -> None:
    shut_gate(minutes=5)

    assert strip_of(Client().get("/admin/login/")) == ""


def test_the_warning_costs_two_queries(operator: Client) -> None:
    gate.read()
    operator.get(REFUSALS)
    with CaptureQueriesContext(connection) as queries:
        operator.get(f"{USERS}add/")

    tables = ('FROM "accounts_discordgate" WHERE', 'FROM "accounts_discordrefusal" WHERE')
    assert len([query for query in queries if any(table in query["sql"] for table in tables)]) == 2


def strip_of(response: Any) -> str:
    return " ".join("".join(re.findall(r'<p class="strip"[^>]*>(.*?)</p>', words_of(response), re.S)).split())


def test_there_is_nothing_to_open_about_an_open_gate(operator: Client) -> None:
    gate.read()

    assert "The gate is already open." in words_of(act_on_gate(operator, confirmed="yes"))
    assert not LogEntry.objects.exists()


def test_who_may_only_look_may_not_open_the_gate(transactional_db: None) -> None:
    reader = User.objects.create_user(username="reader", is_staff=True)
    reader.user_permissions.add(*Permission.objects.filter(codename__startswith="view_"))
    browser = Client()
    browser.force_login(reader, backend="guilds.backends.PasswordBackend")
    shut_gate(minutes=5)

    act_on_gate(browser, confirmed="yes")

    assert DiscordGate.objects.get().streak == 2


@pytest.mark.parametrize(
    ("count", "words"),
    [(1, "The brake is off."), (2, "only for people without a list"), (4, "no requests are sent to Discord")],
)
def test_the_refusals_say_how_near_the_brake_is(operator: Client, settings: Settings, count: int, words: str) -> None:
    settings.DISCORD_BRAKE_SOFT, settings.DISCORD_BRAKE_HARD = 2, 4
    now = database_now()
    DiscordRefusal.objects.bulk_create(DiscordRefusal(status=401, at=now) for _ in range(count))

    shown = words_of(operator.get(REFUSALS))

    assert (
        f"{count} in the last 10 minutes. From 2, requests are sent only for people without a list; from 4, none"
        in shown
    )
    assert words in shown.partition("from 4, none are sent.")[2]
    assert "<title>Select Discord refusal to view | Guildhall</title>" in shown


def test_only_claimed_lists_are_leases_and_a_dead_ones_is_overdue(operator: Client, with_list: WithList) -> None:
    live, dead, _ = with_list("ada"), with_list("linus"), with_list("grace")
    now = database_now()
    for user, seconds in ((live, 9), (dead, -9)):
        GuildListVerification.objects.filter(pk=user.pk).update(lease_until=now + timedelta(seconds=seconds))

    response = operator.get(LEASES)

    assert [row.user for row in found_on(response)] == [dead, live]
    assert re.search(r">\d+ seconds ago<", words_of(response))
    assert [row.user for row in found_on(operator.get(f"{LEASES}?q=ada"))] == [live]


@pytest.mark.parametrize("changelist", LISTS)
def test_no_list_counts_all_its_rows(seen: Seen, changelist: str) -> None:
    counts = [sql for sql in seen.queries[changelist] if "COUNT(" in sql]
    table = f'FROM "{MODELS[changelist]._meta.db_table}"'
    assert [sql for sql in counts if table in sql and "LIMIT" not in sql and "WHERE" not in sql] == []
    assert any("LIMIT" in sql for sql in counts)


def test_a_list_that_ends_at_the_bound_says_so(
    operator: Client, with_list: WithList, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_list("ada")
    monkeypatch.setattr(BoundedPaginator, "MAX_COUNT", 11)

    for query in ("", "?q=ada"):
        page = operator.get(f"{MEMBERSHIPS}{query}")
        assert page.context["cl"].result_count == 11
        assert "more than 11 memberships; search or filter to find the rest" in " ".join(words_of(page).split())
        assert "11 results" not in words_of(page)


def test_a_list_that_fits_says_how_many_there_are(
    operator: Client, with_list: WithList, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_list("ada")
    monkeypatch.setattr(BoundedPaginator, "MAX_COUNT", 12)

    page = operator.get(MEMBERSHIPS)

    assert "12 memberships" in " ".join(words_of(page).split())
    assert "12 results" in words_of(page)
    assert "more than" not in words_of(page)


def test_nobody_selects_all_of_a_list_that_ends_at_the_bound(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    crowd(121)
    before = words_of(operator.get(VERIFICATIONS))
    monkeypatch.setattr(BoundedPaginator, "MAX_COUNT", 110)

    after = words_of(operator.get(VERIFICATIONS))

    assert ("Select all 121" in before, "Select all 110" in after) == (True, False)


# the front page


def front_of(client: Client) -> str:
    return " ".join(words_of(client.get("/admin/")).split())


def test_the_front_page_judges_as_discord_status_does(operator: Client) -> None:
    ServingMinute.objects.create(minute=database_now(), fresh=90, refused=10, unanswered=5)

    assert re.search(r'class="state bad">Critical</span> Discord isn\'t responding\.', front_of(operator))

    ServingMinute.objects.update(refused=0)

    assert re.search(r'class="state good">OK</span> Everything is fine\.', front_of(operator))


def test_the_front_page_counts_lists_and_failures_and_each_leads_to_its_rows(
    operator: Client, people: dict[str, User]
) -> None:
    GuildListVerification.objects.filter(pk=people["stale"].pk).update(reason="reconnect_required")
    GuildListVerification.objects.filter(pk=people["expired"].pk).update(reason="rate_limited")

    page = front_of(operator)
    counts = re.findall(r'<a href="([^"]+)"><b>(\d)</b> <span class="state \w+">([\w ]+)</span>', page)
    reasons = re.findall(r'<a href="([^"]+reason=[^"]+)"><span class="state \w+">([\w ]+)</span>', page)

    assert {words: number for _url, number, words in counts} == {
        "fresh": "1",
        "stale": "0",
        "expired": "1",
        "never verified": "1",
        "refused": "1",
    }
    for url, number, _words in counts:
        assert len(found_on(operator.get(url))) == int(number)
    assert {words: [row.user for row in found_on(operator.get(url))] for url, words in reasons} == {
        "must sign in again": [people["stale"]],
        "rate limited": [people["expired"]],
    }


def test_the_front_page_opens_the_gate(operator: Client) -> None:
    assert "Open the gate" not in front_of(operator)
    shut_gate(minutes=5)

    form = re.search(r'<form method="post" action="([^"]+)">(.*?)</form>', front_of(operator))
    assert form
    page = operator.post(form[1], dict(re.findall(r'name="(_selected_action|action)" value="(\w+)"', form[2])))

    assert "Open the gate?" in words_of(page)


@pytest.mark.parametrize(
    ("hours", "succeeded", "state"),
    [(25, True, "succeeded"), (27, True, "overdue"), (2, False, "failed"), (None, True, "never finished")],
)
def test_the_front_page_tells_how_a_jobs_last_run_ended(
    operator: Client, hours: int | None, succeeded: bool, state: str
) -> None:
    if hours is not None:
        at = database_now() - timedelta(hours=hours)
        JobRun.objects.create(
            command="clearsocial",
            started_at=at,
            finished_at=at,
            succeeded=succeeded,
            succeeded_at=at if succeeded else None,
        )

    row = front_of(operator).partition("<code>clearsocial</code>")[2].partition("</tr>")[0]

    assert f">{state}</span>" in row
    assert ("hour" in row) == (hours is not None)
    assert bool(re.search(r"\d{4}-\d\d-\d\d", row)) == (hours is not None and succeeded)


def test_the_front_page_shows_what_the_doctor_found(operator: Client, sandbox: Sandbox, settings: Settings) -> None:
    def card() -> str:
        return front_of(operator).partition("<h2>Setup</h2>")[2].partition("</section>")[0]

    assert "The doctor hasn't run yet." in card()

    sandbox.application(redirect_uris=[])
    with pytest.raises(SystemExit):
        call_command("doctor")
    let_pass(hours=3)

    assert '<span class="state bad">Error</span>' in card()
    assert "The application lacks redirect URLs of this site" in card()
    assert "http://localhost:8000/complete/discord/" in card()
    assert "Discord accepts" not in card()
    assert "The doctor found this 3 hours ago." in card()

    operator.cookies[settings.LANGUAGE_COOKIE_NAME] = "de"
    german = operator.get("/admin/").text
    assert "Der Anwendung fehlen Redirect-URLs dieser Website" in german
    assert "Trage sie auf der Seite OAuth2" in german
    assert "http://localhost:8000/complete/discord/" in german
    del operator.cookies[settings.LANGUAGE_COOKIE_NAME]

    # As the previous release stored it, and as system checks are: without templates.
    DoctorReport.objects.update(
        findings=[{"check": "settings", "level": "warning", "sentence": "DEBUG is on.", "advice": "Turn it off."}]
    )
    assert '<span lang="en">DEBUG is on. ' in card()

    sandbox.reset()
    call_command("doctor")

    assert "found nothing wrong" in card()
    assert DoctorReport.objects.count() == 1


def test_the_front_page_groups_the_lists_by_question(operator: Client) -> None:
    groups = operator.get("/admin/").context["groups"]

    assert {str(group["name"]): {model["object_name"] for model in group["models"]} for group in groups} == {
        "People": {"User", "DiscordAccount", "GuildListVerification"},
        "Servers": {"UserGuildMembership", "BotGuild", "GuildMember", "GuildDirectory"},
        "Discord": {"DiscordGate", "DiscordRefusal", "DiscordAllowance", "RefreshLease", "ServingMinute"},
        "Access": {"PersonalAccessToken", "ServiceToken", "Group"},
    }


def test_the_front_page_shows_no_more_than_its_reader_may_see(transactional_db: None) -> None:
    browser = Client()
    reader = User.objects.create_user(username="reader", is_staff=True)
    browser.force_login(reader, backend="guilds.backends.PasswordBackend")
    shut_gate(minutes=5)

    page = front_of(browser)

    assert "Requests to Discord are limited" in page
    assert not [
        part for part in ("Lists by state", "Lists served", "Open the gate", "Discord refusals") if part in page
    ]
    assert "You don't have permission" in page


def test_the_front_page_costs_the_same_for_one_and_for_many(operator: Client, with_list: WithList) -> None:
    with_list("linus")
    operator.get("/admin/")
    with CaptureQueriesContext(connection) as few:
        operator.get("/admin/")
    crowd(50)

    with CaptureQueriesContext(connection) as many:
        operator.get("/admin/")

    assert len(many) == len(few)


# columns and the ways between them


@pytest.mark.parametrize("changelist", LISTS)
def test_whatever_the_admin_calls_things_can_be_translated(seen: Seen, changelist: str) -> None:
    page = seen.pages[changelist]
    shown, opts = page.context["cl"].model_admin, page.context["cl"].opts
    columns = {*page.context["cl"].list_display, *flatten_fieldsets(shown.get_fieldsets(page.wsgi_request, seen.ada))}
    columns.discard("action_checkbox")

    words = {
        "a row": opts.verbose_name,
        "rows": opts.verbose_name_plural,
        "the application": opts.app_config.verbose_name,
        **{column: label_for_field(column, shown.model, shown) for column in columns},
        **{f"help for {name}": getattr(opts.get_field(name), "help_text", "") for name in columns & fields_of(opts)},
        **{f"by {spec.title}": spec.title for spec in page.context["cl"].filter_specs},
        **{name: func.short_description for name, (func, _, _) in shown.get_actions(page.wsgi_request).items()},
    }

    assert {name: text for name, text in words.items() if text and not isinstance(text, Promise)} == {}


def fields_of(opts: Any) -> set[str]:
    return {field.name for field in opts.get_fields()}


def test_every_page_of_the_admin_says_once_that_times_are_utc(seen: Seen) -> None:
    for url in (*seen.details, *seen.details.values(), *FRONT):
        # As a word, because a form's random token may have these letters in it.
        assert len(re.findall(r"\bUTC\b", seen[url])) == 1, url


def test_moments_are_formatted_alike_in_lists_and_on_pages(seen: Seen) -> None:
    for url in (*seen.details, *seen.details.values()):
        assert "+00:00" not in seen[url]
        assert not re.search(r"[ap]\.m\.|midnight|noon", seen[url]), url


@pytest.mark.parametrize("changelist", OF_PEOPLE)
def test_each_list_of_people_leads_to_the_others(seen: Seen, changelist: str) -> None:
    links = seen.links(changelist)

    assert {words for _url, words in links} == {
        words
        for words, model in (("person", USERS), ("account", ACCOUNTS), ("list", VERIFICATIONS))
        if model != changelist
    } | {words for words, model in (("servers", MEMBERSHIPS), ("tokens", TOKENS)) if model != changelist}
    about_ada = [link for link in links if is_about(seen.ada, link[0])]
    assert about_ada
    for url, words in about_ada:
        assert seen.pages[url].status_code == 200
        if words != "person":
            assert {row.user_id for row in found_on(seen.pages[url])} == {seen.ada.pk}


@pytest.mark.parametrize("changelist", OF_PEOPLE)
def test_people_with_the_same_name_are_told_apart(seen: Seen, changelist: str) -> None:
    handle = f"@{seen.ada.discord_username} · {seen.ada.discord_id}"
    assert f'<bdi>{seen.ada.display_name}</bdi> <span class="handle">{handle}</span>' in seen[changelist]


def test_an_operator_without_discord_is_shown_by_username(operator: Client) -> None:
    assert '<bdi>root</bdi> <span class="handle">root</span>' in words_of(operator.get(USERS))


@pytest.mark.parametrize(
    ("changelist", "state"),
    [
        (VERIFICATIONS, "fair: stale"),
        (ACCOUNTS, "good: connected"),
        (TOKENS, "good: valid"),
        (GATE, "good: open"),
        (GUILDS, "good: present"),
    ],
)
def test_a_state_has_a_colour_and_a_word(seen: Seen, changelist: str, state: str) -> None:
    found = re.findall(r'<span class="state (\w+)">([^<]+)</span>', seen[changelist])

    assert [f"{kind}: {words}" for kind, words in found] == [state]


@pytest.mark.parametrize("changelist", [VERIFICATIONS, USERS])
def test_only_what_cannot_be_undone_is_red(seen: Seen, changelist: str) -> None:
    page = " ".join(seen[seen.details[changelist]].split())
    buttons = re.findall(r'class="(button[^"]*)" type="submit" name="action" value="(\w+)"', page)

    assert buttons == [("button", "verify_again"), ("button danger", "forget")]


def test_an_account_says_when_its_token_expires_and_what_it_allows(operator: Client, with_list: WithList) -> None:
    account = with_list("ada").discord_account
    account.extra_data = {**account.extra_data, "expires_at": 1_800_000_000}
    account.save()

    words = words_of(operator.get(ACCOUNTS))

    assert "2027-01-15 08:00" in words
    assert "guilds, identify" in words
    assert ">connected<" in words


def test_an_account_that_no_key_opens_says_so(operator: Client, with_list: WithList, settings: Settings) -> None:
    with_list("ada")
    settings.TOKEN_KEYS = ["b3RoZXJzIHNlYWwgdGhlaXIgdG9rZW5zIHdpdGggaXQ="]

    assert "encrypted with a key that isn't in TOKEN_KEYS" in words_of(operator.get(ACCOUNTS))


def test_a_disconnected_account_stands_out(
    operator: Client, with_list: WithList, client_of: Callable[[User], Client], sandbox: Sandbox
) -> None:
    ada = with_list("ada", hours=5)
    with_list("linus")
    sandbox.mood("unauthorized")
    client_of(ada).get("/servers/")
    end_jobs()

    page = operator.get(ACCOUNTS, {"disconnected_at": "yes"})

    assert [row.user for row in found_on(page)] == [ada]
    assert "disconnected: must sign in again" in words_of(page)
    assert ada not in [row.user for row in found_on(operator.get(ACCOUNTS, {"disconnected_at": "no"}))]


def test_a_server_says_how_many_are_in_it_and_leads_to_them(operator: Client, with_list: WithList) -> None:
    ada, linus = with_list("ada"), with_list("linus")
    shared = UserGuildMembership.objects.get(user=linus).guild_id
    UserGuildMembership.objects.filter(guild_id=shared).update(owner=False, permissions=0)
    UserGuildMembership.objects.filter(guild_id=shared, user=ada).update(permissions=32)
    now = database_now()
    BotGuild.objects.create(pk=shared, name="Shared", first_seen_at=now, verified_at=now)
    BotGuild.objects.create(pk=5, name="Empty", first_seen_at=now, verified_at=now)

    page = operator.get(GUILDS)
    (people, managers) = re.findall(rf'href="([^"]+guild_id={shared}[^"]*)">(\d)</a>', words_of(page))

    assert (people[1], managers[1]) == ("2", "1")
    assert [row.user for row in found_on(operator.get(people[0]))] == [linus, ada]
    assert [row.user for row in found_on(operator.get(managers[0]))] == [ada]
    assert words_of(operator.get(f"{GUILDS}5/change/")).count(">0<") == 2


@pytest.mark.parametrize(("choice", "name"), [("no", "There"), ("yes", "Gone")])
def test_servers_are_found_by_whether_the_bot_is_there(operator: Client, choice: str, name: str) -> None:
    now = database_now()
    BotGuild.objects.create(pk=1, name="There", first_seen_at=now, verified_at=now)
    BotGuild.objects.create(pk=2, name="Gone", first_seen_at=now, verified_at=now, deleted_at=now)

    assert [row.name for row in found_on(operator.get(GUILDS, {"deleted_at": choice}))] == [name]


def test_the_list_of_servers_costs_the_same_for_one_and_for_many(operator: Client, with_list: WithList) -> None:
    with_list("ada")
    now = database_now()
    BotGuild.objects.create(pk=1, name="One", first_seen_at=now, verified_at=now)
    operator.get(GUILDS)
    with CaptureQueriesContext(connection) as few:
        operator.get(GUILDS)
    BotGuild.objects.bulk_create(BotGuild(pk=n, name="Many", first_seen_at=now, verified_at=now) for n in range(2, 60))

    with CaptureQueriesContext(connection) as many:
        assert len(found_on(operator.get(GUILDS))) == 59

    assert len(many) == len(few)


# Refusals are few: the gate itself deletes the old ones.
@pytest.mark.parametrize("changelist", [page for page in LISTS if page != REFUSALS])
def test_no_filter_looks_through_all_rows_for_its_choices(seen: Seen, changelist: str) -> None:
    assert [sql for sql in seen.queries[changelist] if "DISTINCT" in sql] == []
    assert "Show counts" not in seen[changelist]


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite reads the table: it serves small sites")
@pytest.mark.parametrize("changelist", [MEMBERSHIPS, VERIFICATIONS, USERS, GUILDS])
def test_a_search_is_by_index(operator: Client, rows: User, changelist: str) -> None:
    with CaptureQueriesContext(connection) as queries:
        operator.get(changelist, {"q": "lisbon"})

    searches = [query["sql"] for query in queries if "LIKE" in query["sql"]]
    assert searches
    with transaction.atomic(), connection.cursor() as cursor:
        # A sequential scan is quicker for so few rows; the test is that the index can be used.
        cursor.execute("SET LOCAL enable_seqscan = off")
        for sql in searches:
            cursor.execute(f"EXPLAIN {sql.partition(' ORDER BY ')[0]}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
            assert "_prefix" in plan, plan
            assert "Seq Scan on guilds_userguildmembership" not in plan, plan


def test_an_access_token_can_be_taken_away(operator: Client, rows: User) -> None:
    token = PersonalAccessToken.objects.get()

    page = operator.get(TOKENS)
    operator.post(f"{TOKENS}{token.pk}/delete/", {"post": "yes"})

    assert "backup" in words_of(page)
    assert ">valid<" in words_of(page)
    assert not PersonalAccessToken.objects.exists()


# forgetting


def forget(operator: Client, changelist: str, *chosen: int, **form: str) -> Any:
    return operator.post(changelist, {"action": "forget", "_selected_action": chosen, **form}, follow=True)


@pytest.mark.parametrize("changelist", [USERS, VERIFICATIONS])
def test_forgetting_is_asked_back_first(operator: Client, with_list: WithList, changelist: str) -> None:
    ada = with_list("ada")

    page = forget(operator, changelist, ada.pk)

    assert f"{ada} (@ada · {ada.discord_id}): 12 servers in the list, preferences for 0 servers" in words_of(page)
    assert "0 access tokens, 0 sessions" in words_of(page)
    assert "You can't undo this" in words_of(page)
    assert User.objects.filter(pk=ada.pk).exists()


def test_forgetting_is_on_the_page_of_one_person_and_can_be_left(operator: Client, with_list: WithList) -> None:
    ada = with_list("ada")
    with_list("linus")

    form = form_on(operator.get(f"{USERS}{ada.pk}/change/"), "forget")
    page = operator.post(form["url"], form["fields"])

    assert "Delete all data about this person?" in words_of(page)
    assert f'<a class="cancel" href="{form["url"]}">Cancel</a>' in words_of(page)
    assert found_on(operator.get(form["url"])) == [ada]


@pytest.mark.parametrize("changelist", [USERS, VERIFICATIONS])
def test_an_operator_forgets_a_person_and_the_record_has_no_name(
    operator: Client, with_list: WithList, client_of: Callable[[User], Client], changelist: str
) -> None:
    ada, linus = with_list("ada"), with_list("linus")
    browser = client_of(ada)
    operator.post(f"{USERS}{ada.pk}/change/", {"username": ada.username, "is_active": "on"})

    page = forget(operator, changelist, ada.pk, confirmed="yes")

    assert "Ada: all data deleted." in words_of(page)
    assert [user.pk for user in User.objects.exclude(username="root")] == [linus.pk]
    assert browser.get("/servers/").status_code == 302
    entries = LogEntry.objects.order_by("pk")
    assert [entry.object_repr for entry in entries] == [f"user {ada.pk}"] * 2
    assert entries[1].is_deletion()


def test_an_operator_does_not_forget_themselves(operator: Client) -> None:
    root = User.objects.get(username="root")

    page = forget(operator, USERS, root.pk, confirmed="yes")

    assert "this is your own account" in words_of(page)
    assert User.objects.filter(pk=root.pk).exists()


def test_who_may_only_look_may_not_forget(with_list: WithList) -> None:
    ada = with_list("ada")
    reader = User.objects.create_user(username="reader", is_staff=True)
    reader.user_permissions.add(*Permission.objects.filter(codename__startswith="view_"))
    browser = Client()
    browser.force_login(reader, backend="guilds.backends.PasswordBackend")

    forget(browser, USERS, ada.pk, confirmed="yes")

    assert User.objects.filter(pk=ada.pk).exists()


def test_more_than_twenty_at_once_are_not_forgotten(operator: Client) -> None:
    page = forget(operator, VERIFICATIONS, *crowd(21), confirmed="yes")

    assert "Select at most 20 people at a time." in words_of(page)
    assert User.objects.count() == 22
