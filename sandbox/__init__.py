"""A Discord for your own machine: people, servers, sign-in, and every way in which Discord can fail.

A process of its own (`python manage.py sandbox` or `python -m sandbox`). Nothing of the site imports it, and it imports
nothing of the site: the two meet over HTTP only, as the site and Discord do.
"""
