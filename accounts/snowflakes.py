"""Discord's ids: numbers that fit a signed 64-bit column, and strings of digits outside of the site."""

import re

# Below 2^63 for sure, for schemas; Discord reaches the few ids that it leaves out in the year 2083.
PATTERN = "(0|[1-8][0-9]{0,18}|9[0-9]{0,17})"
_SHAPE = re.compile("0|[1-9][0-9]{0,18}")
_LIMIT = 2**63


def parse(text: str) -> int | None:
    """Return the id in a string of digits without leading zeros; None if it is anything else or too large."""
    number = int(text) if _SHAPE.fullmatch(text) else None
    return None if number is None or number >= _LIMIT else number
