"""The URLs that social-auth resolves by name: the redirect to Discord (POST) and the callback."""

from django.urls import path

from accounts import views
from accounts.throttles import Limit, throttled_by_address

app_name = "social"
throttled = throttled_by_address(Limit.SIGN_IN_ADDRESS)
urlpatterns = [
    path("login/<str:backend>/", throttled(views.begin_sign_in), name="begin"),
    path("complete/<str:backend>/", throttled(views.complete_sign_in), name="complete"),
]
