from django.urls import path

from accounts import views

urlpatterns = [
    path("sign-in/", views.sign_in, name="sign-in"),
    path("sign-out/", views.sign_out, name="sign-out"),
    path("sign-out-everywhere/", views.sign_out_everywhere, name="sign-out-everywhere"),
    path("account/", views.account, name="account"),
    path("account/tokens/", views.access_tokens, name="access-tokens"),
    path("account/tokens/<int:pk>/revoke/", views.revoke_access_token, name="revoke-access-token"),
]
