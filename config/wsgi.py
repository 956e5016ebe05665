"""The WSGI application that granian, or any other WSGI server, serves."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = get_wsgi_application()

# Only now there are applications to import from.
from guilds.operations import serving_minutes  # noqa: E402 - as above

serving_minutes.start()
