#!/usr/bin/env python
"""Django's command line for Guildhall."""

import gc
import os
import sys
import time
import traceback


def main(*arguments: str) -> None:
    """Run one command. If it fails, print the reason in one line on stderr and exit with code 1.

    Database errors of all commands, including Django's own, are explained here. Errors in the code keep their
    traceback.
    """
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    # Modules create many objects and hardly any garbage; searching for it would take a third of the start.
    # `config.apps.Queue` turns the search on again before the command runs.
    gc.disable()
    try:
        run(*arguments)
    finally:
        gc.enable()


def run(*arguments: str) -> None:
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import Error
    from django.utils.autoreload import autoreload_started

    from accounts import database
    from config import reloading

    began = time.time()
    try:
        import config.settings  # noqa: F401 - read first, so that an invalid value is reported in one line
    except Exception as error:
        is_explained = isinstance(error, ImproperlyConfigured)
        if reloading.is_reloaded():
            sys.stderr.write(f"guildhall: {error}\n" if is_explained else traceback.format_exc())
            reloading.restart_after_a_change(began)
        if not is_explained:
            raise
        sys.exit(f"guildhall: {error}")
    autoreload_started.connect(reloading.watch_failed_modules)
    try:
        with database.quiet_pool():
            execute_from_command_line(["manage.py", *arguments])
    except ImproperlyConfigured as error:
        # A setting that is valid and can't be used here, such as one that needs a package.
        sys.exit(f"guildhall: {error}")
    except Error as error:
        reason = database.explain(error)
        if reason is None or "--traceback" in arguments:
            raise
        sys.exit(f"guildhall: {reason}")


if __name__ == "__main__":
    main(*sys.argv[1:])
