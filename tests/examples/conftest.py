"""The examples are on the site with EXAMPLES=1 alone, and so are their tests."""

from django.conf import settings

collect_ignore_glob = [] if settings.EXAMPLES else ["test_*"]
