"""A local stand-in for Discord: people, servers, sign-in, and simulated failures.

It runs as a separate process (`python manage.py sandbox` or `python -m sandbox`). The site and the sandbox don't import
each other; they communicate over HTTP only, like the site and Discord.
"""
