"""The admin's pages about people and Discord: read-only where rows are the engine's, and never a token."""

from django.contrib import admin

from accounts.admin import discord, people

__all__ = ["discord", "people"]

admin.site.site_header = admin.site.site_title = "Guildhall"
admin.site.empty_value_display = "–"
# A quarter of a desk's width, which the rows need; "Home" is as near.
admin.site.enable_nav_sidebar = False
