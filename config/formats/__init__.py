"""How each language writes moments in the admin: as the log does, so that they compare, and short enough for a row."""
