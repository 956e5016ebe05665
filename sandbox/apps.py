from django.apps import AppConfig


class SandboxConfig(AppConfig):
    """Lists the management command; the sandbox has no models and no pages inside the site."""

    name = "sandbox"
    label = "sandbox"
