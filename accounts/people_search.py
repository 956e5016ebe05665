"""Search for people by name or Discord id, for the admin."""

from django.db.models import Q

from accounts import snowflakes
from accounts.models import User

# More than an operator will read through; a longer term narrows the search.
MAX_RESULTS = 1000


def find_people(term: str) -> list[int]:
    """Return the ids of the people whose name begins with `term` (ignoring case) or whose Discord id it is.

    At most `MAX_RESULTS`, newest first. Only prefixes match, because an index finds those among millions of rows.
    """
    wanted = Q(discord_username__istartswith=term) | Q(global_name__istartswith=term) | Q(username__istartswith=term)
    if (discord_id := snowflakes.parse(term)) is not None:
        wanted |= Q(discord_id=discord_id)
    return list(User.objects.filter(wanted).order_by("-pk").values_list("pk", flat=True)[:MAX_RESULTS])
