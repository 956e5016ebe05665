"""The settings that types are checked under: the site's, with the examples on it, so that their models are known."""

import os

os.environ["EXAMPLES"] = "1"

from config.settings import *  # noqa: F403 - the environment comes first
