"""The API's description: checked in as it is served, complete, and each problem explained where its type leads."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.test import Client
from drf_spectacular.validation import validate_schema

from guilds.api import documents, urls
from guilds.problems.catalogue import PROBLEMS
from tests.guilds import test_api

ROOT = Path(__file__).parents[2]
CODE = [file for app in ("guilds", "config", "accounts") for file in (ROOT / app).rglob("*.py")]


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
        assert [set(key) for key in operation["security"]] == [{"accessToken"}, {"session"}], name
        for status, answer in answers.items():
            assert "X-Request-ID" in answer["headers"], (name, status)
            assert ("Retry-After" in answer["headers"]) is (status in ("202", "429", "503")), (name, status)
            assert ("WWW-Authenticate" in answer["headers"]) is (status in ("401", "403")), (name, status)


def test_whatever_shows_the_list_says_how_old_it_is(schema: dict[str, Any]) -> None:
    for name, operation in operations(schema):
        content = operation["responses"]["200"].get("content", {})
        shown = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
        if shown in ("GuildList", "OneGuild"):
            assert {"Age", "Cache-Status", "ETag"} <= set(operation["responses"]["200"]["headers"]), name
        if shown in ("GuildList", "OneGuild", "Export"):
            assert set(test_api.FRESHNESS_FIELDS) <= set(schema["components"]["schemas"][shown]["required"])


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
    assert ("Retry-After says it" in page) is PROBLEMS[name].waits


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


# the page to try it out


def test_the_explorer_loads_nothing_from_elsewhere(client: Client, db: None) -> None:
    response = client.get("/api/docs/")

    page = response.content.decode()
    sources = re.findall(r'(?:src|href|data-schema)="([^"]+)"', page)
    assert response.status_code == 200
    assert len(sources) > 4
    assert all(source.startswith("/") and not source.startswith("//") for source in sources)
    assert "<style" not in page
    assert not re.search(r"<script(?![^>]*src=)", page)
