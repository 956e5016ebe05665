"""Show a response that was rendered in this process in Chromium, with the site's own headers and static files."""

from urllib.parse import urlsplit

from django.contrib.staticfiles import finders
from django.http import HttpResponse
from playwright.sync_api import Page, Route

# No server listens there; the route below serves the page's requests.
ADDRESS = "http://testserver/"


def show(page: Page, response: HttpResponse, images_from: str = "") -> None:
    """Open `response` at `ADDRESS`, with images only from URLs that start with `images_from`, otherwise without any."""

    def respond(route: Route) -> None:
        url = route.request.url
        path = urlsplit(url).path
        if url == ADDRESS:
            route.fulfill(status=response.status_code, headers=dict(response.headers), body=response.content)
        elif images_from and url.startswith(images_from):
            # Not by the browser, which keeps a page of another host away from this machine.
            route.fulfill(response=route.fetch())
        elif path.startswith("/static/") and (file := finders.find(path.removeprefix("/static/"))):
            route.fulfill(path=file)
        else:
            route.abort()

    page.unroute_all()
    page.route("**/*", respond)
    page.goto(ADDRESS)
