from django.urls import path

from . import views

app_name = "dashboard"
urlpatterns = [
    path("<int:guild_id>/settings/", views.settings, name="settings"),
    path("<int:guild_id>/leaderboard/", views.Leaderboard.as_view(), name="leaderboard"),
    path("<int:guild_id>/log/", views.Log.as_view(), name="log"),
    path("<int:guild_id>/delegates/", views.delegates, name="delegates"),
    path("<int:guild_id>/delegates/<int:pk>/remove/", views.remove_delegate, name="remove-delegate"),
]
