"""`python -m sandbox`: runs the sandbox without Django, for tests and benchmarks."""

import sys

from sandbox.cli import main

if __name__ == "__main__":
    sys.exit(main())
