"""The WSGI application that granian, or any other WSGI server, serves."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = get_wsgi_application()

# Only now there are applications to import from.
from guilds import serving  # noqa: E402 - as above

serving.start()
