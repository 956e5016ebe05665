from django.urls import path

from guilds.pages import views

app_name = "guilds"
urlpatterns = [
    path("delete-my-data/", views.delete_my_data, name="delete-my-data"),
    path("my-data.json", views.export_my_data, name="export-my-data"),
    path("", views.picker, name="picker"),
    path("switch/", views.switch, name="switch"),
    path("refresh/", views.refresh, name="refresh"),
    path("freshness/", views.freshness, name="freshness"),
    path("favourites/", views.favourites, name="favourites"),
    path("bot-added/", views.bot_added, name="bot-added"),
    path("<int:guild_id>/", views.detail, name="detail"),
    path("<int:guild_id>/add-bot/", views.add_bot, name="add-bot"),
]
