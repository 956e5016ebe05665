"""The site with the pages of `bench.member_urls`."""

# Imported before the settings are changed, because it sets Django up.
from config.wsgi import application  # isort: split

from django.conf import settings

__all__ = ["application"]

settings.ROOT_URLCONF = "bench.member_urls"
