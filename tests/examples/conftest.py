"""The examples are on the site with EXAMPLES=1 alone, and so are the tests of its pages."""

from django.conf import settings

collect_ignore = [] if settings.EXAMPLES else ["test_examples.py"]
