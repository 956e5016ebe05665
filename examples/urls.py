from django.urls import path

from . import views

app_name = "examples"
urlpatterns = [
    path("", views.index, name="index"),
    path("<int:guild_id>/", views.Server.as_view(), name="server"),
    path("<int:guild_id>/edit/", views.edit, name="edit"),
    path("<int:guild_id>/save/", views.save, name="save"),
    path("<int:guild_id>/message.json", views.Message.as_view(), name="message"),
]
