from django.apps import AppConfig


class SandboxConfig(AppConfig):
    """Registers the management command; the sandbox adds no models and no pages to the site."""

    name = "sandbox"
    label = "sandbox"
