"""The admin's pages about people and Discord. Rows that the engine owns are read-only; no stored token is shown."""

from django.conf import settings
from django.contrib import admin

from accounts.admin import discord, people, tokens

__all__ = ["discord", "people", "tokens"]

admin.site.site_header = admin.site.site_title = settings.SITE_NAME
admin.site.empty_value_display = "–"
# The sidebar takes a quarter of the width, which the tables need; "Home" is one click away.
admin.site.enable_nav_sidebar = False
