from django.contrib.staticfiles.apps import StaticFilesConfig


class StaticFiles(StaticFilesConfig):
    """Collects of others' files what our pages load. Swagger UI's source maps and a second viewer are 20 MB more.

    Its stylesheet's map stays: the stylesheet names it, and what is named must be there.
    """

    ignore_patterns = [  # noqa: RUF012 - as Django declares it
        *StaticFilesConfig.ignore_patterns,
        "*.js.map",
        "oauth2-redirect.*",
        "redoc",
        "rest_framework",
        "swagger-ui-standalone-*",
    ]
