"""The fleet bench: a simulated day of a million people under Discord's limits."""

from bench.fleet.simulation import add_options, run

__all__ = ["add_options", "run"]
