"""Finding people by what an operator knows of them."""

from django.db.models import Q

from accounts.models import User

# As many as anybody looks through; more letters find the others.
MOST = 1000


def find_people(term: str) -> list[int]:
    """The ids of those with a name that begins with `term`, in any case, or whose id at Discord it is; at most `MOST`.

    The beginning, because that is what an index finds among millions.
    """
    wanted = Q(discord_username__istartswith=term) | Q(global_name__istartswith=term) | Q(username__istartswith=term)
    if (discord_id := snowflake(term)) is not None:
        wanted |= Q(discord_id=discord_id)
    return list(User.objects.filter(wanted).order_by("-pk").values_list("pk", flat=True)[:MOST])


def snowflake(term: str) -> int | None:
    """`term` as an id at Discord that a row can hold; None if it is none."""
    return int(term) if term.isdecimal() and term.isascii() and len(term) < 20 and int(term) < 2**63 else None
