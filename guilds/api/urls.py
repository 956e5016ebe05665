from django.urls import path

from guilds.api import export, views

app_name = "api"
urlpatterns = [
    path("guilds/", views.GuildListView.as_view(), name="guilds"),
    path("guilds/refresh/", views.RefreshView.as_view(), name="refresh"),
    path("guilds/<int:guild_id>/", views.GuildView.as_view(), name="guild"),
    path("memberships/export/", export.ExportView.as_view(), name="export"),
    path("me/", views.MeView.as_view(), name="me"),
    path("bot/guilds/", views.BotGuildsView.as_view(), name="bot-guilds"),
]
