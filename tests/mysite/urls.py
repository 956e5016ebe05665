"""The pages of this site. They take precedence over the pages of the project."""

from django.urls import include, path

urlpatterns = [path("dashboard/", include("mysite.dashboard.urls"))]
