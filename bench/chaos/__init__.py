"""The chaos bench: processes that die and freeze, Discord in every mood, and a checker of every promise."""

from bench.chaos.play import add_options, run

__all__ = ["add_options", "run"]
