"""The OpenAPI document: the checked-in file equals the served one, and each problem type has a page."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import html5lib
import pytest
import yaml
from django.conf import settings
from django.test import Client
from drf_spectacular.validation import validate_schema

from accounts.models import User
from guilds.api import documents, urls
from guilds.api.reference import reference_of
from guilds.problems.catalogue import PROBLEMS
from tests.guilds import test_api

ROOT = Path(__file__).parents[2]
CODE = [file for app in ("guilds", "config", "accounts") for file in (ROOT / app).rglob("*.py")]
FOR_SERVICES = ("getBotMember", "verifyBotMember", "sendBotEvents")


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return documents.document()


def operations(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def test_the_schema_that_is_checked_in_is_the_one_of_the_code(schema: dict[str, Any]) -> None:
    checked_in = yaml.safe_load((ROOT / "docs/openapi.yaml").read_text())

    assert checked_in == schema, "./run schema writes docs/openapi.yaml anew"


def test_the_schema_is_openapi_3_1(schema: dict[str, Any]) -> None:
    assert schema["openapi"].startswith("3.1.")
    validate_schema(schema)


def test_the_schema_is_served_to_anybody_without_the_database(client: Client, schema: dict[str, Any]) -> None:
    response = client.get("/api/schema/")

    assert response["Content-Type"] == "application/vnd.oai.openapi+json;version=3.1"
    assert response.json() == schema
    assert "public" in response["Cache-Control"]
    assert "Cookie" not in response.get("Vary", "")


def test_every_path_of_the_api_is_in_the_schema(schema: dict[str, Any]) -> None:
    routes = {"/api/v1/" + re.sub(r"<int:(.*?)>", r"{\1}", str(route.pattern)) for route in urls.urlpatterns}

    assert set(schema["paths"]) == routes


def test_every_operation_says_what_can_go_wrong_and_who_may_ask(schema: dict[str, Any]) -> None:
    for name, operation in operations(schema):
        answers = operation["responses"]
        assert {"400", "401", "403", "405", "406", "429", "500", "503"} <= set(answers), name
        services = [{"serviceToken"}] if "/bot/" in name else []
        people = [] if operation["operationId"] in FOR_SERVICES else [{"accessToken"}, {"session"}]
        assert [set(key) for key in operation["security"]] == [*people[:1], *services, *people[1:]], name
        for status, answer in answers.items():
            assert "X-Request-ID" in answer["headers"], (name, status)
            assert ("Retry-After" in answer["headers"]) is (status in ("202", "429", "503")), (name, status)
            assert ("WWW-Authenticate" in answer["headers"]) is (status in ("401", "403")), (name, status)


def test_whatever_shows_the_list_says_how_old_it_is(schema: dict[str, Any]) -> None:
    for name, operation in operations(schema):
        if "204" in operation["responses"]:
            continue
        shown = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        if shown in ("GuildList", "OneGuild"):
            assert {"Age", "Cache-Status", "ETag"} <= set(operation["responses"]["200"]["headers"]), name
        if shown in ("GuildList", "OneGuild", "Export"):
            assert set(test_api.FRESHNESS_FIELDS) <= set(schema["components"]["schemas"][shown]["required"])


def test_the_documentation_shows_the_body_and_who_may_send_it(
    with_list: Callable[..., User], client_of: Callable[[User], Client]
) -> None:
    visitor = client_of(with_list("ada"))
    _head, *operations = visitor.get("/api/docs/").content.decode().split('<article class="panel operation" id="')
    shown = {operation.partition('"')[0]: operation for operation in operations}

    events = shown["sendBotEvents"]
    for name in ("events", "guild_id", "member", "roles", "GUILD_MEMBER_REMOVE", "READY"):
        assert f"<code>{name}</code>" in events
    assert "--json @body.json" in events
    assert "Service token with <code>bot:events</code>" in events
    assert ("data-send" in events, "Create a token" in events) == (False, False)
    assert "Access token with <code>guilds:read</code>" in shown["listGuilds"]
    assert ("data-send" in shown["listGuilds"], "Create a token" in shown["listGuilds"]) == (True, True)
    assert "--json" not in shown["listGuilds"]


def test_what_the_documentation_does_not_translate_is_marked_as_english(client: Client, db: None) -> None:
    page = client.get("/api/docs/", headers={"Accept-Language": "de"}).content
    root = html5lib.parse(page, namespaceHTMLElements=False)
    for element in root.findall(".//*[@lang='en']"):
        tail = element.tail
        element.clear()
        element.tail = tail
    german = [" ".join(text.split()).rstrip(":") for text in root.itertext()]
    reference = reference_of(documents.document())
    operations = [operation for chapter in reference.chapters for operation in chapter.operations]
    english = [reference.description, *(chapter.description for chapter in reference.chapters)]
    english += [words for operation in operations for words in (operation.summary, operation.description)]
    english += [answer.description for operation in operations for answer in operation.answers]
    english += [answer.status.phrase for operation in operations for answer in operation.answers]
    english += [words for login in reference.logins for words in (login.kind, login.description)]

    assert "API-Dokumentation" in german
    assert {" ".join(words.split()) for words in english if words} & set(german) == set()


# the problems


def test_every_problem_of_the_code_is_explained() -> None:
    named = {name for file in CODE for name in re.findall(r'(?:Problem|_row)\(\s*"([a-z-]+)"', file.read_text())}

    assert named == set(PROBLEMS)
    assert all(row.meaning and row.advice for row in PROBLEMS.values())


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_problems_type_leads_to_a_page_that_explains_it(client: Client, db: None, name: str) -> None:
    response = client.get(f"/problems/{name}")

    page = response.content.decode()
    assert response.status_code == 200
    assert name in page
    assert f"{int(PROBLEMS[name].status)} {PROBLEMS[name].status.phrase}" in page
    assert "`" not in page
    assert ("<code>retry_after</code> repeats" in page) is PROBLEMS[name].waits


def test_all_problems_stand_on_one_page_and_in_the_docs(client: Client, db: None) -> None:
    page = client.get("/problems/").content.decode()
    docs = (ROOT / "docs/api.md").read_text()

    for name, kind in PROBLEMS.items():
        assert f'href="{kind.path}"' in page
        assert f"| `{name}` | {int(kind.status)} |" in docs


def test_there_is_no_page_of_a_problem_we_do_not_have(client: Client, db: None) -> None:
    assert client.get("/problems/no-such-problem").status_code == 404


@pytest.mark.parametrize("accept", ["*/*", "text/html", "application/json"])
def test_a_path_that_is_not_there_is_a_problem_for_every_program(client: Client, db: None, accept: str) -> None:
    response = client.get("/api/v1/no-such-thing/", headers={"Accept": accept})

    assert (response.status_code, response.json()["type"]) == (404, "/problems/not-found")
    assert response["Content-Type"] == "application/problem+json"


# the page that shows it


def test_the_page_shows_every_operation_and_loads_nothing_from_elsewhere(client: Client, db: None) -> None:
    response = client.get("/api/docs/")

    page = response.content.decode()
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert response.status_code == 200
    assert len(sources) > 4
    assert [source for source in sources if not re.match(rf"/(?!/)|#|{settings.SANDBOX_URL}/", source)] == []
    assert "<style" not in page
    assert not re.search(r"<script(?![^>]*src=)", page)
    assert "`" not in page


def test_the_page_shows_what_the_document_says_of_an_operation(schema: dict[str, Any]) -> None:
    reference = reference_of(schema)

    shown = {operation.id: operation for chapter in reference.chapters for operation in chapter.operations}
    listed = shown["listGuilds"]
    assert shown.keys() == {operation["operationId"] for _, operation in operations(schema)}
    assert (listed.method, listed.path, listed.scopes, listed.allows_services) == (
        "GET",
        "/api/v1/guilds/",
        ("guilds:read",),
        False,
    )
    assert shown["listBotGuilds"].allows_services
    assert [field.name for field in listed.inputs] == ["fields", "has_bot", "manageable", "ordering", "owner", "search"]
    assert listed.inputs[3].values == ("id", "-id", "name", "-name")
    found, unchanged = listed.answers
    assert (found.status, unchanged.status, unchanged.fields) == (200, 304, ())
    fields = {field.name: field for field in found.fields}
    assert (fields["next_attempt_at"].kind, fields["reason"].kind) == ("date-time or null", "string or null")
    assert None not in fields["reason"].values
    assert fields["guilds"].kind == "array of object"
    optional = {field.name for field in fields["guilds"].fields if not field.is_required}
    assert "name" in optional
    assert "id" not in optional
    assert {problem.name for problem in listed.problems} >= {"invalid-parameter", "rate-limited"}
    assert listed.command.endswith(f"'{settings.SITE_URL}/api/v1/guilds/'")
