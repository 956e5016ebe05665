from django.urls import path

from guilds import views

app_name = "guilds"
urlpatterns = [
    path("delete-my-data/", views.delete_my_data, name="delete-my-data"),
    path("my-data.json", views.export_my_data, name="export-my-data"),
    path("", views.picker, name="picker"),
    path("refresh/", views.refresh, name="refresh"),
    path("freshness/", views.freshness, name="freshness"),
    path("<int:guild_id>/", views.detail, name="detail"),
]
