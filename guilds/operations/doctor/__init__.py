"""The doctor: whether the site is set up correctly, here and at Discord, and what to do if it isn't.

`findings` is what a check returns, `site` and `discord` are the checks, and `examination` runs them all.
"""
