from django.conf import settings
from django.contrib import admin
from django.urls import include, path
from django.views.i18n import set_language

from accounts.decorators import open_to_all
from accounts.passwords import throttled_password_change
from config import mysite, views
from guilds.api import documents

urlpatterns = [
    path("", views.home, name="home"),
    path("", include("accounts.urls")),
    path("", include("accounts.social_urls")),
    path("servers/", include("guilds.urls")),
    path("api/v1/", include("guilds.api.urls")),
    path("api/schema/", documents.schema, name="api-schema"),
    path("api/docs/", documents.reference, name="api-docs"),
    path("problems/", documents.problems, name="problems"),
    path("problems/<slug:name>", documents.problem, name="problem"),
    # Overrides the admin's own view, which would allow unlimited guesses of the old password with a stolen session.
    path(
        "admin/password_change/",
        admin.site.admin_view(throttled_password_change(admin.site.password_change), cacheable=True),
    ),
    path("admin/", admin.site.urls),
    path("language/", open_to_all(set_language), name="set-language"),
    # Browsers request this path on pages without an icon link, such as those of the admin and the API.
    path("favicon.ico", views.favicon, name="favicon"),
]
if settings.EXAMPLES:
    urlpatterns += [
        path("examples/", include("examples.urls")),
        path("api/examples/", include("examples.api_urls")),
    ]
if settings.MYSITE:
    # First, so that the site can replace a page.
    urlpatterns[:0] = [
        path(prefix, include(module))
        for prefix, module in (("", mysite.load("urls")), ("api/", mysite.load("api_urls")))
        if module
    ]
handler400 = "config.views.bad_request"
handler403 = "config.views.permission_denied"
handler404 = "config.views.page_not_found"
handler500 = "config.views.server_error"
