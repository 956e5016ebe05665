"""Example pages that use only the public API. `EXAMPLES=1 ./run` serves them under /examples/."""
