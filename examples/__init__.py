"""Pages of a site of yours, on the public doors alone: `EXAMPLES=1 ./run` puts them under /examples/."""
