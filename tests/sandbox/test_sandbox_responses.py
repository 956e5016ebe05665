"""The sandbox's responses, compared with Discord's OpenAPI document and the documentation of its headers."""

import math
import time
from io import BytesIO

import pytest
from PIL import Image

from tests.sandbox.schema import check, of_route

LIST = "/users/@me/guilds"
PEOPLE = ("ada", "grace", "linus", "nobody")
BUCKET = ("Limit", "Remaining", "Reset", "Reset-After", "Bucket")


@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize("path", ["/users/@me", LIST, "/oauth2/@me"])
def test_a_healthy_answer_is_what_the_document_says(unlimited, path, person):
    reply = unlimited.get(path, unlimited.token(person))

    assert reply.status == 200
    check(of_route(path), reply.json())


def test_a_list_with_counts_is_what_the_document_says(unlimited):
    reply = unlimited.get(f"{LIST}?with_counts=true", unlimited.token("grace"))

    check(of_route(LIST), reply.json())
    assert all(guild["approximate_member_count"] and guild["approximate_presence_count"] for guild in reply.json())


def test_the_email_scope_adds_the_address(unlimited):
    reply = unlimited.get("/users/@me", unlimited.token("ada", "identify", "email"))

    check(of_route("/users/@me"), reply.json())
    assert reply.json()["verified"] is True
    assert "@" in reply.json()["email"]


@pytest.mark.parametrize("mode", ["rate_limited", "global_limit", "shared_limit", "no_headers"])
@pytest.mark.parametrize("path", ["/users/@me", LIST])
def test_a_429_is_what_the_document_says(unlimited, mode, path):
    unlimited.mood(mode, retry_after=64.57)

    reply = unlimited.get(path, unlimited.token())

    assert reply.status == 429
    check("/components/schemas/RatelimitedResponse", reply.json())


@pytest.mark.parametrize(
    ("path", "scopes", "status", "code"),
    [
        (f"{LIST}?limit=0", ("guilds",), 400, 50035),
        (f"{LIST}?limit=201", ("guilds",), 400, 50035),
        (f"{LIST}?limit=many", ("guilds",), 400, 50035),
        (f"{LIST}?after=soon", ("guilds",), 400, 50035),
        (LIST, ("identify",), 403, 50026),
        ("/users/@me", ("guilds",), 403, 50026),
        (f"{LIST}/1/member", ("guilds",), 403, 50026),
        (f"{LIST}/1/member", ("guilds.members.read",), 404, 10004),
        ("/users/@me/nothing", ("identify",), 404, 0),
    ],
)
def test_a_refusal_has_the_shape_of_the_document_and_discords_code(unlimited, path, scopes, status, code):
    reply = unlimited.get(path, unlimited.token("ada", *scopes))

    assert (reply.status, reply.json()["code"]) == (status, code)
    check("/components/schemas/ErrorResponse", reply.json())
    assert reply.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("authorization", ["", "Bearer nobodys", "Bearer ", "Basic eDp5", "nonsense", "Bot nobodys"])
def test_without_a_living_token_there_is_a_401(sandbox, authorization):
    reply = sandbox.ask("GET", f"/api/v10{LIST}", headers={"Authorization": authorization} if authorization else {})

    assert reply.status == 401
    assert reply.json() == {"message": "401: Unauthorized", "code": 0}


def test_the_list_is_complete_in_ascending_order_and_the_same_every_time(unlimited):
    first = unlimited.get(LIST, unlimited.token("grace")).json()
    unlimited.control("POST", "reset")
    again = unlimited.get(LIST, unlimited.token("grace")).json()

    ids = [int(guild["id"]) for guild in first]
    assert first == again
    assert len(set(ids)) == 200
    assert ids == sorted(ids)
    assert len({guild["name"] for guild in first}) == 200


def test_pages_follow_one_another_with_after(unlimited):
    token = unlimited.token("grace")
    everything = unlimited.get(LIST, token).json()

    pages, after = [], "0"
    while page := unlimited.get(f"{LIST}?limit=70&after={after}", token).json():
        pages.append(page)
        after = page[-1]["id"]

    assert [len(page) for page in pages] == [70, 70, 60]
    assert [guild for page in pages for guild in page] == everything


def test_before_gives_the_first_ones_below_it_as_discord_does(unlimited):
    token = unlimited.token("grace")
    everything = unlimited.get(LIST, token).json()

    page = unlimited.get(f"{LIST}?limit=3&before={everything[100]['id']}", token).json()

    assert page == everything[:3]


@pytest.mark.parametrize("value", ["true", "True", "1"])
def test_with_counts_takes_every_true_of_discords(unlimited, value):
    reply = unlimited.get(f"{LIST}?with_counts={value}", unlimited.token("linus"))

    assert "approximate_member_count" in reply.json()[0]


def test_ada_has_one_of_everything_that_a_page_can_get_wrong(unlimited):
    guilds = unlimited.get(LIST, unlimited.token("ada")).json()

    assert len(guilds) == 12
    assert max(len(guild["name"]) for guild in guilds) > 90
    assert any(guild["icon"] is None for guild in guilds)
    assert any((guild["icon"] or "").startswith("a_") for guild in guilds)
    assert any("\u0600" < guild["name"][0] < "\u06ff" for guild in guilds)
    assert any(guild["owner"] and not int(guild["permissions"]) & 0x28 for guild in guilds)
    assert any(not guild["owner"] and int(guild["permissions"]) & 0x28 == 0x20 for guild in guilds)
    assert any(not guild["owner"] and int(guild["permissions"]) & 0x8 for guild in guilds)
    assert any(not guild["owner"] and not int(guild["permissions"]) & 0x28 for guild in guilds)


def test_a_list_tells_its_bucket_and_a_second_one_has_to_wait(sandbox):
    token = sandbox.token()
    first, second = sandbox.get(LIST, token), sandbox.get(LIST, token)

    assert (first.status, second.status) == (200, 429)
    assert first.headers["X-RateLimit-Bucket"] == second.headers["X-RateLimit-Bucket"]
    assert first.headers["X-RateLimit-Remaining"] == second.headers["X-RateLimit-Remaining"] == "0"
    assert 0 < second.json()["retry_after"] <= 1
    assert second.headers["Retry-After"] == "1"


def test_the_limit_belongs_to_the_person_and_not_to_the_token(sandbox):
    assert sandbox.get(LIST, sandbox.token("ada")).status == 200
    assert sandbox.get(LIST, sandbox.token("ada")).status == 429
    assert sandbox.get(LIST, sandbox.token("grace")).status == 200
    assert sandbox.get("/users/@me", sandbox.token("ada")).status == 200


def test_more_than_fifty_requests_in_a_second_meet_the_global_limit(sandbox):
    sandbox.control("PUT", "limits", {"per_second": 5})
    token = sandbox.token()

    replies = [sandbox.get("/users/@me", token) for _ in range(6)]

    assert [reply.status for reply in replies] == [200] * 5 + [429]
    assert replies[5].headers["X-RateLimit-Global"] == "true"
    assert replies[5].json()["global"] is True


def test_ten_minutes_full_of_invalid_requests_bring_the_ban(unlimited):
    unlimited.control("PUT", "limits", {"invalid_per_10_minutes": 3})
    token = unlimited.token()

    replies = [unlimited.get("/users/@me", "nobodys") for _ in range(3)]
    banned = unlimited.get("/users/@me", token)

    assert [reply.status for reply in replies] == [401] * 3
    assert (banned.status, banned.headers["Via"]) == (429, None)
    assert banned.headers["Content-Type"].startswith("text/html")
    assert unlimited.state()["invalid_requests"] == 3
    assert unlimited.state()["banned"] is True


def test_a_429_of_the_shared_scope_is_not_an_invalid_request(unlimited):
    token = unlimited.token()

    for mode in ("shared_limit", "rate_limited", "forbidden", "outage", "healthy"):
        unlimited.mood(mode)
        unlimited.get("/users/@me", token)

    assert unlimited.state()["invalid_requests"] == 2


@pytest.mark.parametrize("mode", ["rate_limited", "shared_limit"])
def test_a_429_has_the_five_bucket_headers_and_whole_seconds_to_wait(unlimited, mode):
    unlimited.mood(mode, retry_after=64.57)

    reply = unlimited.get(LIST, unlimited.token())

    headers = {name: reply.headers[f"X-RateLimit-{name}"] for name in BUCKET}
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["Via"] == "1.1 google"
    assert reply.headers["Retry-After"] == "65"
    assert reply.json()["retry_after"] == 64.57
    assert reply.json()["global"] is False
    assert headers["Remaining"] == "0"
    assert math.isclose(float(headers["Reset-After"]), 64.57)
    assert math.isclose(float(headers["Reset"]), time.time() + 64.57, abs_tol=5)
    assert "." in headers["Reset"]
    assert reply.headers["X-RateLimit-Scope"] == ("user" if mode == "rate_limited" else "shared")
    assert reply.headers["X-RateLimit-Global"] is None


def test_a_global_429_has_no_bucket(unlimited):
    unlimited.mood("global_limit", retry_after=1336.57)

    reply = unlimited.get(LIST, unlimited.token())

    assert reply.headers["Retry-After"] == "1337"
    assert reply.headers["X-RateLimit-Global"] == "true"
    assert reply.headers["X-RateLimit-Scope"] == "global"
    assert not any(reply.headers[f"X-RateLimit-{name}"] for name in BUCKET)


@pytest.mark.parametrize("mode", ["cloudflare_html", "cloudflare_json"])
def test_cloudflare_has_nothing_of_discords(unlimited, mode):
    unlimited.mood(mode)
    token = unlimited.token()

    reply = unlimited.get(LIST, token)
    unlimited.mood(mode, retry_after=3600)
    with_time = unlimited.get(LIST, token)

    assert reply.status == 429
    assert reply.headers["Server"] == "cloudflare"
    assert not [name for name in reply.headers if name.lower().startswith(("x-ratelimit", "via", "retry-after"))]
    assert b"retry_after" not in reply.body
    assert with_time.headers["Retry-After"] == "3600"


def test_a_member_of_a_guild_has_roles_by_permission(unlimited):
    token = unlimited.token("ada", "guilds", "guilds.members.read")
    guilds = unlimited.get(LIST, token).json()

    owner = unlimited.get(f"{LIST}/{guilds[0]['id']}/member", token).json()
    plain = unlimited.get(f"{LIST}/{guilds[-2]['id']}/member", token).json()

    assert len(owner["roles"]) == 2
    assert plain["roles"] == []
    assert owner["user"]["username"] == "ada"
    assert owner["joined_at"]


def test_the_bot_sees_its_own_servers_and_their_owners(unlimited):
    bot = "Bot sandbox-bot"

    guilds = unlimited.get(LIST, bot).json()
    guild = unlimited.get(f"/guilds/{guilds[0]['id']}", bot).json()
    owner = unlimited.get(f"/guilds/{guild['id']}/members/{guild['owner_id']}", bot).json()

    check(of_route(LIST), guilds)
    assert len(guilds) == 17
    assert owner["user"]["username"] == "ada"
    assert unlimited.get("/guilds/1", bot).json()["code"] == 10004
    assert unlimited.get(f"/guilds/{guild['id']}", unlimited.token()).status == 401
    assert unlimited.get("/oauth2/@me", bot).status == 401


@pytest.mark.parametrize("prefix", ["/api/v10", "/api/v9", "/api"])
def test_the_versions_in_use_are_answered(unlimited, prefix):
    reply = unlimited.ask("GET", f"{prefix}/users/@me", token=unlimited.token())

    assert reply.status == 200


def test_an_old_version_and_a_wrong_method_are_refused(unlimited):
    assert unlimited.ask("GET", "/api/v5/users/@me").json()["code"] == 50041
    assert unlimited.ask("POST", "/api/v10/users/@me", token=unlimited.token()).status == 405
    assert unlimited.ask("GET", "/api/v10/oauth2/token").status == 405
    assert unlimited.ask("PATCH", "/api/v10/applications/@me", token="Bot sandbox-bot").status == 405
    assert unlimited.ask("PUT", "/api/v10/applications/1/commands", token="Bot sandbox-bot").status == 404


@pytest.mark.parametrize(
    ("path", "kind", "start"),
    [
        ("/icons/1/{plain}.png?size=64", "image/png", b"\x89PNG\r\n\x1a\n"),
        ("/icons/1/{moving}.webp?size=4096", "image/webp", b"RIFF"),
        ("/icons/1/{moving}.gif?size=32", "image/gif", b"GIF89a"),
        ("/banners/1/{plain}.png?size=512", "image/png", b"\x89PNG\r\n\x1a\n"),
        ("/avatars/1/{plain}.png", "image/png", b"\x89PNG\r\n\x1a\n"),
        ("/embed/avatars/5.png", "image/png", b"\x89PNG\r\n\x1a\n"),
    ],
)
def test_the_cdn_has_pictures(sandbox, path, kind, start):
    reply = sandbox.ask("GET", "/cdn" + path.format(plain="0" * 32, moving="a_" + "1" * 32))

    assert (reply.status, reply.headers["Content-Type"]) == (200, kind)
    assert reply.body.startswith(start)


@pytest.mark.parametrize(
    ("path", "frames"),
    [
        ("/icons/1/{moving}.webp?size=32&animated=true", 2),
        ("/icons/1/{moving}.webp?size=32&animated=false", 1),
        ("/icons/1/{plain}.webp?size=32&animated=true", 1),
        ("/banners/1/{plain}.webp?size=32", 1),
    ],
)
def test_a_webp_has_the_pixels_of_the_png(sandbox, path, frames):
    path = "/cdn" + path.format(plain="0" * 32, moving="a_" + "1" * 32)

    reply = sandbox.ask("GET", path)

    assert reply.headers["Content-Type"] == "image/webp"
    png = Image.open(BytesIO(sandbox.ask("GET", path.partition("?")[0].replace("webp", "png") + "?size=32").body))
    webp = Image.open(BytesIO(reply.body))
    assert webp.n_frames == frames
    assert webp.convert("RGB").tobytes() == png.convert("RGB").tobytes()
    if frames > 1:
        webp.seek(1)
        assert webp.convert("RGB").tobytes() != png.convert("RGB").tobytes()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/icons/1/{'0' * 32}.png?size=63", 400),
        (f"/icons/1/{'0' * 32}.png?size=8192", 400),
        (f"/icons/1/{'0' * 32}.gif", 415),
        ("/icons/1/nothing.png", 404),
        ("/embed/avatars/6.png", 404),
        (f"/splashes/1/{'0' * 32}.png", 404),
    ],
)
def test_the_cdn_refuses_what_discords_does(sandbox, path, status):
    assert sandbox.ask("GET", f"/cdn{path}").status == status
