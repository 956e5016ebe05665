from django.urls import path

from . import views

app_name = "welcome"
urlpatterns = [
    path("<int:guild_id>/", views.edit, name="edit"),
    path("<int:guild_id>/save/", views.save, name="save"),
]
