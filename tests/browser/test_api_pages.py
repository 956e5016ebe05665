"""The API's pages in Chromium, under the site's own Content-Security-Policy."""

import re

from playwright.sync_api import Page, expect

from tests.browser.conftest import SignIn, Site
from tests.browser.looks import TWO_LOOKS, faults_of, inspect


def test_the_explorer_shows_every_operation_and_asks_with_the_session(
    site: Site, page: Page, person: str, sign_in: SignIn
) -> None:
    faults = faults_of(page)
    asked: list[str] = []
    sign_in(page, person)
    page.on("request", lambda request: asked.append(request.url))

    page.goto(f"{site.url}/api/docs/")
    expect(page.locator(".opblock")).to_have_count(6)
    page.locator("#operations-people-getMe").get_by_role("button").first.click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()

    expect(page.locator(".live-responses-table tbody .response-col_status")).to_contain_text("200")
    expect(page.locator(".live-responses-table")).to_contain_text(person)
    # Inside it, contrasts and buttons in buttons are Swagger UI's own.
    inspect(page, {"exclude": [[".swagger-ui"]]}, looks=TWO_LOOKS)
    assert faults == []
    assert [url for url in asked if not url.startswith((site.url, "data:", "blob:"))] == []


def test_a_token_is_made_copied_used_and_revoked(site: Site, page: Page, person: str, sign_in: SignIn) -> None:
    sign_in(page, person)
    page.goto(f"{site.url}/account/")
    page.get_by_role("link", name="Access tokens").click()

    page.get_by_label("What it is for").fill("backup")
    page.get_by_label("Read who I am").check()
    page.get_by_role("button", name="Make a token").click()

    token = page.locator("#new-token").inner_text()
    assert re.fullmatch("gdh_[0-9a-f]{40}", token)
    inspect(page)
    bearer = {"Authorization": f"Bearer {token}"}
    assert page.request.get(f"{site.url}/api/v1/me/", headers=bearer).json()["username"] == person

    page.get_by_role("button", name="Revoke backup").click()

    expect(page.get_by_role("status")).to_contain_text("revoked")
    assert page.request.get(f"{site.url}/api/v1/me/", headers=bearer).status == 401
