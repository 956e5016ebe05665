"""Every folder with tests has the fixtures of docs/testing.md."""

pytest_plugins = ["tests.fixtures"]
