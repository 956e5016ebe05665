from django.urls import path

from . import views

app_name = "examples"
urlpatterns = [
    path("", views.index, name="index"),
    path("<int:guild_id>/", views.Server.as_view(), name="server"),
    path("<int:guild_id>/lounge/", views.lounge, name="lounge"),
    path("<int:guild_id>/preview/", views.preview, name="preview"),
    path("<int:guild_id>/edit/", views.edit, name="edit"),
]
