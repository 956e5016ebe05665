from django.conf import settings
from django.contrib import admin
from django.urls import include, path
from django.views.i18n import set_language

from config import views
from guilds.api import documents

urlpatterns = [
    path("", views.home, name="home"),
    path("", include("accounts.urls")),
    path("", include("accounts.social_urls")),
    path("servers/", include("guilds.urls")),
    path("api/v1/", include("guilds.api.urls")),
    path("api/schema/", documents.schema, name="api-schema"),
    path("api/docs/", documents.explorer, name="api-docs"),
    path("problems/", documents.problems, name="problems"),
    path("problems/<slug:name>", documents.problem, name="problem"),
    path("admin/", admin.site.urls),
    path("language/", set_language, name="set-language"),
    # Browsers ask for it by this name on pages that name no other, the admin's and the API's.
    path("favicon.ico", views.favicon, name="favicon"),
]
if settings.EXAMPLES:
    urlpatterns += [
        path("examples/", include("examples.urls")),
        path("api/examples/", include("examples.api_urls")),
    ]
handler400 = "config.views.bad_request"
handler403 = "config.views.permission_denied"
handler404 = "config.views.page_not_found"
handler500 = "config.views.server_error"
