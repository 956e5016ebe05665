#!/usr/bin/env python
"""Django's command line for Guildhall."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        import config.settings  # noqa: F401 - read first, so that a wrong value is one sentence, not a traceback
    except ImproperlyConfigured as error:
        sys.exit(f"guildhall: {error}")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
