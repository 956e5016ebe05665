import gc
from importlib import import_module
from importlib.util import find_spec

from django.apps import AppConfig
from django.conf import settings
from django.contrib.admin.apps import AdminConfig
from django.contrib.staticfiles.apps import StaticFilesConfig

from config import observability


class StaticFiles(StaticFilesConfig):
    """Collects only those third-party files that our pages load, so without REST framework's own pages."""

    ignore_patterns = [*StaticFilesConfig.ignore_patterns, "rest_framework"]  # noqa: RUF012 - as Django declares it


class Admin(AdminConfig):
    """The admin, whose log is complete."""

    default_site = "accounts.audit.AuditedSite"


class Queue(AppConfig):
    """Makes tasks of the site use the site's broker, in the web process and in commands too.

    A task without an app of its own would otherwise go to a broker that happens to run on this machine. Starts what
    observes each of these processes, too.
    """

    name = "config"

    def ready(self) -> None:
        # Loaded code stays as long as the process, so the garbage collector can skip it.
        gc.freeze()
        gc.enable()
        observability.start()
        if find_spec("celery") is None:
            return
        if settings.CELERY_BROKER_URL:
            import_module("config.celery")
        # Only a site has tasks, and importing Celery takes a while.
        elif settings.MYSITE:
            import_module("config.no_broker")
