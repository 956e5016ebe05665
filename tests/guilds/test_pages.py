"""The pages about one's servers, as a browser without JavaScript gets them."""

import html
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.clock import database_now
from accounts.models import DiscordAccount, Session, User
from guilds.models import GuildListVerification, UserGuildMembership
from tests.fixtures import Sandbox, let_pass

WithList = Callable[..., User]
ClientOf = Callable[[User], Client]

JSON = {"Accept": "application/json"}
HTMX = {"HX-Request": "true"}
FRESH: dict[str, float] = {"minutes": 10}
STALE: dict[str, float] = {"hours": 5}
EXPIRED: dict[str, float] = {"hours": 25}
INLINE = re.compile(
    r"<script(?![^>]*\ssrc=)|<style\b|<[^>]*\sstyle\s*=|<[^>]*\son[a-z]+\s*=|javascript:", re.IGNORECASE
)


def words_of(response: Any) -> str:
    return html.unescape(response.content.decode())


def names_on(response: Any) -> list[str]:
    return [html.unescape(name) for name in re.findall(r"</i><bdi>([^<]*)</bdi>", page_of(response))]


def page_of(response: Any) -> str:
    text: str = response.content.decode()
    return text


def name_and_badge(response: Any) -> dict[str, str]:
    rows = re.findall(r'<li class="h.*?</li>', page_of(response), re.DOTALL)
    found = {}
    for row in rows:
        name = re.search(r"<bdi>([^<]*)<", row)
        badge = re.search(r"<small>(\w+)", row)
        assert name
        found[html.unescape(name[1])] = badge[1] if badge else ""
    return found


def seconds_left(user: User) -> float:
    not_before = GuildListVerification.objects.get(pk=user.pk).not_before
    assert not_before
    return (not_before - database_now()).total_seconds()


# a visitor


@pytest.mark.parametrize("page", ["/servers/", "/servers/80351110224678912/", "/account/", "/servers/delete-my-data/"])
def test_a_visitor_is_sent_to_sign_in_and_back(client: Client, page: str) -> None:
    response = client.get(page)

    target = urlsplit(response["Location"])
    assert (response.status_code, target.path, target.netloc) == (302, "/sign-in/", "")
    assert parse_qs(target.query) == {"next": [page]}
    assert f'name="next" value="{page}"' in page_of(client.get(response["Location"]))


def test_the_search_survives_the_way_to_sign_in(client: Client) -> None:
    response = client.get("/servers/?q=board+games&x=1", follow=True)

    assert 'name="next" value="/servers/?q=board+games&x=1"' in words_of(response)


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/", "//evil.example/", r"\\evil.example", "javascript:alert(1)", "http:///evil.example"],
)
def test_a_way_to_elsewhere_is_dropped(client: Client, elsewhere: str) -> None:
    response = client.get("/sign-in/", {"next": elsewhere})

    assert response.status_code == 200
    assert 'name="next"' not in page_of(response)
    assert "evil.example" not in page_of(response)


def test_a_program_without_a_session_gets_401(client: Client) -> None:
    response = client.get("/servers/", headers=JSON)

    assert (response.status_code, response["Content-Type"]) == (401, "application/problem+json")


def test_a_visitor_who_refreshes_comes_back_to_a_page_that_exists(client: Client) -> None:
    response = client.post("/servers/refresh/")

    assert parse_qs(urlsplit(response["Location"]).query) == {"next": ["/servers/"]}


# the list


def test_the_list_shows_every_server_and_what_one_may_do_there(with_list: WithList, client_of: ClientOf) -> None:
    response = client_of(with_list("ada", **FRESH)).get("/servers/")

    assert response.status_code == 200
    assert name_and_badge(response) == {
        "Analytical Engine Club": "Owner",
        "1337 Krew": "Owner",
        "Just Ada & Friends": "Owner",
        "Difference & Sons <b>GmbH</b>": "Manager",
        "Django Study Group": "Manager",
        "Lisbon Board Gamers": "Manager",
        "نادي القراءة العربي": "Manager",
        "The Honourable Society for the Very Slow and Very Careful Reading of Very Long and Dense Old Books": "",
        "🎮🌈 ゲーム部屋 👩‍👩‍👧‍👦": "",
        "Pixel Animators": "",
        "Winter Climbers": "",
        "no": "",
    }
    assert re.search(r'id="total">12<', page_of(response))


def test_those_one_manages_stand_first_each_by_name(with_list: WithList, client_of: ClientOf) -> None:
    response = client_of(with_list("ada", **FRESH)).get("/servers/")

    badges = list(name_and_badge(response).items())
    managed = [name.casefold() for name, badge in badges[:7]]
    assert all(badge for _, badge in badges[:7])
    assert managed == sorted(managed)
    assert not any(badge for _, badge in badges[7:])


@pytest.mark.parametrize(
    ("age", "words"),
    [
        ({}, "Checked with Discord less than a minute ago"),
        ({"minutes": 1}, "Checked with Discord 1 minute ago"),
        ({"minutes": 10}, "Checked with Discord 10 minutes ago"),
    ],
)
def test_a_fresh_list_says_when_it_was_checked(
    with_list: WithList, client_of: ClientOf, age: dict[str, float], words: str
) -> None:
    response = client_of(with_list("ada", **age)).get("/servers/")

    assert words in " ".join(re.sub(r"<[^>]*>", " ", words_of(response)).split())


def test_names_are_text_and_never_markup(with_list: WithList, client_of: ClientOf) -> None:
    response = client_of(with_list("ada", **FRESH)).get("/servers/")

    assert "<b>GmbH" not in page_of(response)
    assert "&lt;b&gt;GmbH" in page_of(response)


def test_somebody_in_no_server_is_told_so(with_list: WithList, client_of: ClientOf) -> None:
    response = client_of(with_list("nobody")).get("/servers/")

    assert response.status_code == 200
    assert "You're not in any servers yet" in words_of(response)
    assert 'id="q"' not in page_of(response)


def test_two_hundred_servers_fit_on_the_page(with_list: WithList, client_of: ClientOf) -> None:
    response = client_of(with_list("grace")).get("/servers/")

    assert len(names_on(response)) == 200


def test_a_list_is_not_kept_by_browsers_or_proxies(with_list: WithList, client_of: ClientOf) -> None:
    response = client_of(with_list("ada")).get("/servers/")

    assert "no-store" in response["Cache-Control"]
    assert "private" in response["Cache-Control"]


# the search


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("LISBON", ["Lisbon Board Gamers"]),
        ("  winter ", ["Winter Climbers"]),
        ("القراءة", ["نادي القراءة العربي"]),
        ("👩‍👩‍👧‍👦", ["🎮🌈 ゲーム部屋 👩‍👩‍👧‍👦"]),
        ("ゲーム", ["🎮🌈 ゲーム部屋 👩‍👩‍👧‍👦"]),
        ("<b>", ["Difference & Sons <b>GmbH</b>"]),
        ("& ", ["Difference & Sons <b>GmbH</b>", "Just Ada & Friends"]),
        ("%", []),
        ("no such server", []),
    ],
)
def test_the_search_finds_names(with_list: WithList, client_of: ClientOf, query: str, names: list[str]) -> None:
    response = client_of(with_list("ada", **FRESH)).get("/servers/", {"q": query})

    assert response.status_code == 200
    assert names_on(response) == names
    assert f"{len(names)} of 12 servers" in words_of(response)


def test_a_search_without_a_match_says_what_was_searched(with_list: WithList, client_of: ClientOf) -> None:
    response = client_of(with_list("ada", **FRESH)).get("/servers/", {"q": "<script>alert(1)</script>"})

    assert "No matching servers" in words_of(response)
    assert "<script>alert" not in page_of(response)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page_of(response)


@pytest.mark.parametrize("query", ["\x00", "🎮" * 2000, "a" * 3000])
def test_no_search_breaks_the_page(with_list: WithList, client_of: ClientOf, query: str) -> None:
    response = client_of(with_list("ada", **FRESH)).get("/servers/", {"q": query})

    assert (response.status_code, names_on(response)) == (200, [])


def test_htmx_gets_the_list_alone(with_list: WithList, client_of: ClientOf) -> None:
    client = client_of(with_list("ada", **FRESH))

    part = client.get("/servers/", {"q": "lisbon"}, headers=HTMX)
    whole = client.get("/servers/", {"q": "lisbon"}, headers={**HTMX, "HX-History-Restore-Request": "true"})

    assert names_on(part) == names_on(whole) == ["Lisbon Board Gamers"]
    assert "<html" not in page_of(part)
    assert "<html" in page_of(whole)
    assert 'hx-swap-oob="innerHTML:#freshness"' not in page_of(part)


def test_htmx_that_follows_a_refresh_gets_the_age_too(with_list: WithList, client_of: ClientOf) -> None:
    client = client_of(with_list("ada", **FRESH))

    part = client.get("/servers/", headers={**HTMX, "HX-Trigger": "freshness"})

    assert 'hx-swap-oob="innerHTML:#freshness"' in page_of(part)
    assert "10 minutes ago" in page_of(part)


# while Discord is away


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("rate_limited", "Discord is rate-limiting requests for your account."),
        ("global_limit", "Discord is rate-limiting this whole site."),
        ("cloudflare_html", "Cloudflare, which protects Discord, is blocking this site."),
        ("outage", "Discord isn't responding at the moment."),
    ],
)
def test_a_stale_list_is_shown_whole_and_says_why(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox, mode: str, words: str
) -> None:
    client = client_of(with_list("ada", **STALE))
    sandbox.mood(mode)

    first, second = client.get("/servers/"), client.get("/servers/")

    for response in (first, second):
        assert (response.status_code, len(names_on(response))) == (200, 12)
        assert words in words_of(response)
        assert '(<span data-age="1800' in page_of(response)
        assert "5 hours ago" in words_of(response)
    assert len(sandbox.requests()) == 1


def test_a_stale_list_says_when_the_next_try_is(with_list: WithList, client_of: ClientOf, sandbox: Sandbox) -> None:
    ada = with_list("ada", **STALE)
    sandbox.mood("rate_limited", retry_after=45)

    response = client_of(ada).get("/servers/")

    left = seconds_left(ada)
    shown = re.search(
        r'Checking again in <span class="count" data-countdown="(\d+)" aria-live="off">(\d+) seconds<',
        page_of(response),
    )
    assert shown
    assert left <= int(shown[1]) < left + 3
    assert shown[1] == shown[2]


def test_a_stale_list_that_is_being_refreshed_says_so(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox
) -> None:
    client = client_of(with_list("ada", **STALE))
    sandbox.mood("healthy", latency_ms=700)

    response = client.get("/servers/")

    assert (response.status_code, len(names_on(response))) == (200, 12)
    assert "Checking with Discord now…" in words_of(response)


def test_a_search_works_in_a_stale_list(with_list: WithList, client_of: ClientOf, sandbox: Sandbox) -> None:
    client = client_of(with_list("ada", **STALE))
    sandbox.mood("outage")

    assert names_on(client.get("/servers/", {"q": "winter"})) == ["Winter Climbers"]


def test_without_a_list_a_limit_is_a_page_with_a_true_countdown(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox
) -> None:
    ada = with_list("ada", **EXPIRED)
    sandbox.mood("rate_limited", retry_after=45)

    response = client_of(ada).get("/servers/")

    left, wait = seconds_left(ada), int(response["Retry-After"])
    assert response.status_code == 429
    assert left <= wait < left + 3
    assert f'data-countdown="{wait}"' in page_of(response)
    assert f"{wait} seconds" in words_of(response)
    assert f'content="{wait}; url=/servers/"' in page_of(response)
    assert "Winter Climbers" not in words_of(response)
    assert response["Cache-Control"] == "no-store"


@pytest.mark.parametrize("mode", ["outage", "timeout", "garbage", "reset"])
def test_without_a_list_silence_is_a_page_that_says_when_to_come_back(
    ada: User, client_of: ClientOf, sandbox: Sandbox, mode: str
) -> None:
    sandbox.mood(mode)

    response = client_of(ada).get("/servers/")

    left, wait = seconds_left(ada), int(response["Retry-After"])
    assert response.status_code == 503
    assert left <= wait < left + 3
    assert f'data-countdown="{wait}"' in page_of(response)


def test_a_wait_of_a_day_reloads_nothing(ada: User, client_of: ClientOf, sandbox: Sandbox) -> None:
    sandbox.mood("rate_limited", retry_after=80_000)

    response = client_of(ada).get("/servers/")

    assert int(response["Retry-After"]) >= 80_000
    assert "23 hours" in words_of(response)
    assert "http-equiv" not in page_of(response)


def test_a_program_is_told_the_same_as_a_person(ada: User, client_of: ClientOf, sandbox: Sandbox) -> None:
    sandbox.mood("rate_limited", retry_after=45)

    response = client_of(ada).get("/servers/", headers=JSON)

    assert (response.status_code, response["Content-Type"]) == (429, "application/problem+json")
    assert response.json()["retry_after"] == int(response["Retry-After"])


@pytest.mark.parametrize("age", [STALE, EXPIRED])
def test_a_refusal_asks_to_reconnect_whatever_is_stored(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox, age: dict[str, float]
) -> None:
    client = client_of(with_list("ada", **age))
    sandbox.mood("unauthorized")

    response = client.get("/servers/?q=winter")

    assert response.status_code == 403
    assert "Sign in with Discord again" in words_of(response)
    assert 'name="next" value="/servers/?q=winter"' in page_of(response)
    assert "Retry-After" not in response
    assert "Winter Climbers" not in words_of(response)


def test_a_scope_that_was_not_granted_has_its_own_page(
    sign_up: Callable[..., User], client_of: ClientOf, sandbox: Sandbox
) -> None:
    client = client_of(sign_up("ada", scopes=("identify",)))

    response = client.get("/servers/")

    assert response.status_code == 403
    assert "You didn't share your servers" in words_of(response)
    assert sandbox.requests() == []


# one server


@pytest.mark.usefixtures("bot_synced")
def test_ones_own_server_has_a_page(with_list: WithList, client_of: ClientOf) -> None:
    client = client_of(with_list("ada", **FRESH))
    server = UserGuildMembership.objects.get(name="Lisbon Board Gamers")

    response = client.get(f"/servers/{server.guild_id}/")

    assert response.status_code == 200
    assert '<h1 dir="auto">Lisbon Board Gamers</h1>' in page_of(response)
    assert str(server.guild_id) in page_of(response)
    assert "Manager" in words_of(response)


def test_every_server_of_the_list_leads_to_its_page(with_list: WithList, client_of: ClientOf) -> None:
    client = client_of(with_list("ada", **FRESH))

    links = re.findall(r'<a href="(\d+/)">', page_of(client.get("/servers/")))

    assert [client.get(f"/servers/{link}").status_code for link in links] == [200] * 12


def test_a_server_one_is_not_in_is_not_there(with_list: WithList, client_of: ClientOf) -> None:
    with_list("grace")
    client = client_of(with_list("linus"))
    of_grace = UserGuildMembership.objects.filter(user__discord_username="grace").first()
    assert of_grace

    response = client.get(f"/servers/{of_grace.guild_id}/")

    assert response.status_code == 404
    assert "Not one of your servers" in words_of(response)
    assert of_grace.name not in words_of(response)


@pytest.mark.parametrize("guild_id", ["0", "1", str(2**63), "9" * 400])
def test_an_id_that_is_nobodys_is_not_there(with_list: WithList, client_of: ClientOf, guild_id: str) -> None:
    client = client_of(with_list("ada", **FRESH))

    assert client.get(f"/servers/{guild_id}/").status_code == 404


def test_a_server_can_be_looked_at_while_discord_is_away(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox
) -> None:
    client = client_of(with_list("ada", **STALE))
    server = UserGuildMembership.objects.get(name="Winter Climbers")
    sandbox.mood("outage")

    response = client.get(f"/servers/{server.guild_id}/")

    assert response.status_code == 200
    assert "Discord isn't responding at the moment." in words_of(response)


def test_a_server_one_has_left_is_gone_with_the_next_list(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox
) -> None:
    client = client_of(with_list("linus", **STALE))
    server = UserGuildMembership.objects.get()
    sandbox.person("linus", guilds=[])

    assert client.get(f"/servers/{server.guild_id}/").status_code == 404


# refresh now


def test_refresh_now_within_the_cool_down_says_so_and_loses_nothing(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox
) -> None:
    client = client_of(with_list("ada"))

    response = client.post("/servers/refresh/", follow=True)

    assert response.redirect_chain == [("/servers/", 302)]
    assert re.search(r"Checked a moment ago. You can refresh again in (60|59|58) seconds.", words_of(response))
    assert len(names_on(response)) == 12
    assert sandbox.requests() == []


def test_the_cool_down_is_never_told_as_shorter_than_it_is(with_list: WithList, client_of: ClientOf) -> None:
    client = client_of(with_list("ada", seconds=50.6))

    response = client.post("/servers/refresh/", follow=True)

    left = re.search(r"refresh again in (\d+) second", words_of(response))
    verified_at = GuildListVerification.objects.get().verified_at
    assert left
    assert verified_at
    assert int(left[1]) >= 60 - (database_now() - verified_at).total_seconds()


@pytest.mark.parametrize("age", [FRESH, STALE, EXPIRED], ids=["fresh", "stale", "expired"])
def test_refresh_now_asks_exactly_once(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox, age: dict[str, float]
) -> None:
    client = client_of(with_list("ada", **age))

    response = client.post("/servers/refresh/", follow=True)

    assert "Checked with Discord just now." in words_of(response)
    assert "less than a minute ago" in words_of(response)
    assert len(sandbox.requests()) == 1


@pytest.mark.parametrize("age", [FRESH, STALE], ids=["fresh", "stale"])
@pytest.mark.parametrize(
    ("mode", "words"), [("rate_limited", "Discord is rate-limiting"), ("outage", "Discord isn't responding")]
)
def test_refresh_now_that_fails_says_why_and_loses_nothing(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox, mode: str, words: str, age: dict[str, float]
) -> None:
    client = client_of(with_list("ada", **age))
    sandbox.mood(mode)

    responses = [client.post("/servers/refresh/", follow=True) for _ in range(2)]

    for response in responses:
        assert (response.status_code, len(names_on(response))) == (200, 12)
        # A stale list says so itself, for as long as it is true.
        assert words_of(response).count(words) == 1
        assert ('class="warning"' in words_of(response)) == (age == FRESH)
    assert len(sandbox.requests()) == 1


def test_refresh_now_that_fails_without_a_list_gives_the_reason_once(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox
) -> None:
    client = client_of(with_list("ada", **EXPIRED))
    sandbox.mood("outage")

    response = client.post("/servers/refresh/", follow=True)

    assert response.status_code == 503
    assert words_of(response).count("Discord isn't responding") == 1
    assert 'class="messages"' not in words_of(response)
    assert 'class="messages"' not in words_of(client.get("/account/"))


def test_refresh_now_that_fails_gives_the_reason_on_pages_that_show_no_list(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox
) -> None:
    client = client_of(with_list("ada", **FRESH))
    sandbox.mood("outage")

    client.post("/servers/refresh/")
    response = client.get("/servers/1/")

    assert response.status_code == 404
    assert words_of(response).count("Discord isn't responding") == 1


def test_refresh_now_leads_back_to_the_page_it_was_pressed_on(with_list: WithList, client_of: ClientOf) -> None:
    client = client_of(with_list("ada", **FRESH))

    here = client.post("/servers/refresh/", headers={"Referer": "http://testserver/servers/1/"})
    elsewhere = [
        client.post("/servers/refresh/", headers={"Referer": referer})["Location"]
        for referer in (
            "http://elsewhere.example/servers/1/",
            "//elsewhere.example",
            "home",
            "/account/",
            "javascript:1",
        )
    ]

    assert here["Location"] == "http://testserver/servers/1/"
    assert set(elsewhere) == {"/servers/"}


def test_refresh_now_does_not_wait_for_a_slow_discord(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox
) -> None:
    client = client_of(with_list("ada", **FRESH))
    sandbox.mood("healthy", latency_ms=700)

    response = client.post("/servers/refresh/", follow=True)

    assert "Discord is still answering." in words_of(response)
    assert "checking again now…" in words_of(response)
    assert 'class="warning"' not in words_of(response)
    assert len(names_on(response)) == 12


def test_refresh_now_is_a_form_and_no_link(with_list: WithList, client_of: ClientOf, sandbox: Sandbox) -> None:
    client = client_of(with_list("ada", **FRESH))

    assert client.get("/servers/refresh/").status_code == 405
    assert sandbox.requests() == []


@pytest.mark.parametrize(
    "page", ["/servers/refresh/", "/servers/favourites/", "/servers/delete-my-data/", "/sign-out/"]
)
def test_another_site_cannot_press_our_buttons(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox, page: str
) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = client_of(with_list("ada", **FRESH)).cookies

    response = strict.post(page)

    assert response.status_code == 403
    assert User.objects.count() == Session.objects.count() == 1
    assert sandbox.requests() == []


# deleting


def test_deleting_asks_first(with_list: WithList, client_of: ClientOf) -> None:
    response = client_of(with_list("ada")).get("/servers/delete-my-data/")

    assert response.status_code == 200
    assert "Delete everything about you?" in words_of(response)
    assert UserGuildMembership.objects.count() == 12


def test_deleting_leaves_nothing_and_signs_out_everywhere(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox
) -> None:
    ada, linus = with_list("ada"), with_list("linus")
    here, elsewhere, of_linus = client_of(ada), client_of(ada), client_of(linus)
    sandbox.forget_requests()

    response = here.post("/servers/delete-my-data/", follow=True)

    assert response.redirect_chain == [("/", 302)]
    assert "Everything this site stored about you has been deleted." in words_of(response)
    assert [client.get("/servers/").status_code for client in (here, elsewhere, of_linus)] == [302, 302, 200]
    assert list(User.objects.all()) == [linus]
    for model in (GuildListVerification, UserGuildMembership, DiscordAccount, Session):
        assert set(model._default_manager.values_list("user_id", flat=True)) == {linus.pk}
    assert sandbox.requests() == []


# every page


def pages_of(client: Client, sandbox: Sandbox, user: User) -> dict[str, Any]:
    """Every page a person can come to, in every state."""
    server = UserGuildMembership.objects.filter(user=user).first()
    assert server
    visitor = Client()
    pages = {
        "home": visitor.get("/"),
        "sign-in": visitor.get("/sign-in/"),
        "sign-in failed": visitor.get("/complete/discord/?state=x&code=y"),
        "denied": visitor.get("/complete/discord/?error=access_denied"),
        "missing": visitor.get("/no-such-page/"),
        "fresh": client.get("/servers/"),
        "search": client.get("/servers/?q=winter"),
        "no match": client.get("/servers/?q=zzz"),
        "fragment": client.get("/servers/?q=winter", headers=HTMX),
        "server": client.get(f"/servers/{server.guild_id}/"),
        "no server": client.get("/servers/1/"),
        "account": client.get("/account/"),
        "delete": client.get("/servers/delete-my-data/"),
        "message": client.post("/servers/refresh/", follow=True),
        "me": client.get("/api/v1/me/"),
        "list": client.get("/api/v1/guilds/"),
        "guild": client.get(f"/api/v1/guilds/{server.guild_id}/"),
    }
    sandbox.mood("rate_limited", retry_after=45)
    let_pass(**STALE)
    pages |= {"stale": client.get("/servers/"), "stale server": client.get(f"/servers/{server.guild_id}/")}
    let_pass(**EXPIRED)
    pages["limited"] = client.get("/servers/")
    sandbox.mood("outage")
    let_pass(hours=1)
    pages["silent"] = client.get("/servers/")
    let_pass(hours=1)
    sandbox.mood("unauthorized")
    pages["refused"] = client.get("/servers/")
    statuses = {name: response.status_code for name, response in pages.items() if response.status_code != 200}
    assert statuses == {
        "sign-in failed": 400,
        "denied": 403,
        "missing": 404,
        "no server": 404,
        "limited": 429,
        "silent": 503,
        "refused": 403,
    }
    return pages


def test_no_page_has_anything_inline(with_list: WithList, client_of: ClientOf, sandbox: Sandbox) -> None:
    ada = with_list("ada")

    pages = pages_of(client_of(ada), sandbox, ada)

    assert {name: found[0] for name, page in pages.items() if (found := INLINE.search(page_of(page)))} == {}


def test_every_page_has_its_headers(with_list: WithList, client_of: ClientOf, sandbox: Sandbox) -> None:
    ada = with_list("ada")

    pages = pages_of(client_of(ada), sandbox, ada)

    for name, page in pages.items():
        policy = page["Content-Security-Policy"]
        assert "script-src 'self';" in policy + ";", name
        assert "frame-ancestors 'none'" in policy, name
        assert "unsafe" not in policy, name
        assert page["X-Frame-Options"] == "DENY", name
        assert page["X-Content-Type-Options"] == "nosniff", name
        assert page["Referrer-Policy"] == "same-origin", name


def test_no_page_shows_a_token(with_list: WithList, client_of: ClientOf, sandbox: Sandbox) -> None:
    ada = with_list("ada")
    stored = DiscordAccount.objects.get(user=ada).extra_data

    pages = pages_of(client_of(ada), sandbox, ada)

    secrets = {stored["access_token"], stored["refresh_token"], "gAAAA", "Bearer"}
    renewed = DiscordAccount.objects.get(user=ada).extra_data
    secrets |= {renewed["access_token"], renewed["refresh_token"]}
    for name, page in pages.items():
        shown = page_of(page) + str(page.headers) + str(page.cookies)
        assert not [secret for secret in secrets if secret in shown], name


def test_every_page_has_one_heading_a_title_and_a_language(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox
) -> None:
    ada = with_list("ada")

    pages = pages_of(client_of(ada), sandbox, ada)

    for name, page in pages.items():
        if page["Content-Type"].startswith("text/html") and name != "fragment":
            assert page_of(page).count("<h1") == 1, name
            assert '<html lang="en"' in page_of(page), name
            title = re.search(r"<title>(.*?)</title>", page_of(page), re.DOTALL)
            assert title, name
            assert len(title[1].replace("· Guildhall", "").strip()) > 2, name


@pytest.mark.parametrize("token", ["", "sandbox-bot"])
def test_a_servers_page_names_the_persons_standing_whatever_is_known_of_the_bot(
    with_list: Callable[..., User], client_of: Callable[[User], Client], settings: Settings, token: str
) -> None:
    settings.DISCORD_BOT_TOKEN = token
    ada = with_list("ada")
    browser = client_of(ada)

    standings = {
        re.findall(r'class="badge[^"]*">([^<]*)<', page_of(browser.get(f"/servers/{row.guild_id}/")))[0]
        for row in ada.guild_memberships.all()
    }

    assert standings == {"Owner", "Manager", "Member"}
