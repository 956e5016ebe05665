"""The WSGI application that `config/server.py`, or any other WSGI server, serves."""

import gc
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# As in manage.py: the start is no time to search for garbage.
gc.disable()
application = get_wsgi_application()
gc.enable()

# Imported here because Django's applications must be loaded first.
from config import pool_metrics, request_metrics  # noqa: E402 - as above
from guilds.operations import serving_minutes  # noqa: E402 - as above

request_metrics.describe_process()
pool_metrics.start()
serving_minutes.start()
