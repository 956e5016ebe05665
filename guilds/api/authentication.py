from rest_framework.authentication import SessionAuthentication as DjangoSessionAuthentication
from rest_framework.request import Request


class SessionAuthentication(DjangoSessionAuthentication):
    """The site's session, with CSRF protection for unsafe methods; 401, not 403, for those without one."""

    def authenticate_header(self, request: Request) -> str:
        return 'Session realm="guildhall"'
