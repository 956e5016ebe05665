"""The settings of this site, which join those of `config/settings.py`."""

from datetime import timedelta

SITE_NAME = "Chess club"

INSTALLED_APPS = ["mysite.dashboard"]

SCHEDULED_COMMANDS = {"decay_scores": timedelta(days=1)}
