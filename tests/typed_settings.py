"""The settings for the type checker: the site's with the examples enabled, so that their models are known."""

import os

os.environ["EXAMPLES"] = "1"

from config.settings import *  # noqa: F403 - the environment comes first
