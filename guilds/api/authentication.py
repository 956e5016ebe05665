from rest_framework.authentication import SessionAuthentication as DjangoSessionAuthentication
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request


class SessionAuthentication(DjangoSessionAuthentication):
    """The site's session, with CSRF protection for unsafe methods; 401, not 403, for those without one."""

    def enforce_csrf(self, request: Request) -> None:
        # The check lets the safe methods pass too, but takes its time for it.
        if request.method not in SAFE_METHODS:
            super().enforce_csrf(request)

    def authenticate_header(self, request: Request) -> str:
        return 'Session realm="guildhall"'
