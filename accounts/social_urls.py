"""The two of social-auth's views that we use: the way to Discord (POST) and the way back."""

from django.urls import path
from social_django import views

app_name = "social"
urlpatterns = [
    path("login/<str:backend>/", views.auth, name="begin"),
    path("complete/<str:backend>/", views.complete, name="complete"),
]
