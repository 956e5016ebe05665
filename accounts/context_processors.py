from django.conf import settings
from django.http import HttpRequest


def discord(request: HttpRequest) -> dict[str, object]:
    """Tell every template whether the site uses the sandbox, and the sandbox's URL for a browser."""
    return {"uses_sandbox": settings.USES_SANDBOX, "sandbox_url": settings.SANDBOX_URL}


def site(request: HttpRequest) -> dict[str, object]:
    """Tell every template the site's name."""
    return {"site_name": settings.SITE_NAME}
