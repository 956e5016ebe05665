from django.urls import path

from guilds import views

app_name = "guilds"
urlpatterns = [
    path("delete-my-data/", views.delete_my_data, name="delete-my-data"),
    path("", views.picker, name="picker"),
    path("refresh/", views.refresh, name="refresh"),
    path("<int:guild_id>/", views.detail, name="detail"),
]
