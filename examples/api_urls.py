"""URLs below /api/, where errors are problem+json and requests are throttled before Discord is asked."""

from django.urls import path

from . import views

app_name = "examples-api"
urlpatterns = [path("<int:guild_id>/message/", views.Message.as_view(), name="message")]
