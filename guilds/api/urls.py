from django.urls import path

from guilds.api import bot, export, views

app_name = "api"
urlpatterns = [
    path("guilds/", views.GuildListView.as_view(), name="guilds"),
    path("guilds/refresh/", views.RefreshView.as_view(), name="refresh"),
    path("guilds/<int:guild_id>/", views.GuildView.as_view(), name="guild"),
    path("guilds/<int:guild_id>/member/", views.MemberView.as_view(), name="member"),
    path("guilds/<int:guild_id>/roles/", views.RolesView.as_view(), name="roles"),
    path("guilds/<int:guild_id>/channels/", views.ChannelsView.as_view(), name="channels"),
    path("memberships/export/", export.ExportView.as_view(), name="export"),
    path("me/", views.MeView.as_view(), name="me"),
    path("bot/guilds/", bot.BotGuildsView.as_view(), name="bot-guilds"),
    path("bot/guilds/<int:guild_id>/members/<int:discord_id>/", bot.BotMemberView.as_view(), name="bot-member"),
    path(
        "bot/guilds/<int:guild_id>/members/<int:discord_id>/verify/",
        bot.VerifyBotMemberView.as_view(),
        name="bot-member-verify",
    ),
    path("bot/events/", bot.BotEventsView.as_view(), name="bot-events"),
]
