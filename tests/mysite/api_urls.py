"""The endpoints of this site, below `/api/`."""

from django.urls import path

from .dashboard import api

urlpatterns = [
    path("dashboard/<int:guild_id>/settings/", api.Settings.as_view()),
    path("dashboard/<int:guild_id>/scores/", api.Scores.as_view()),
]
