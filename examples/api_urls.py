"""Mounted below /api/, where errors are problems and requests are counted before Discord is asked."""

from django.urls import path

from . import views

app_name = "examples-api"
urlpatterns = [path("<int:guild_id>/message/", views.Message.as_view(), name="message")]
