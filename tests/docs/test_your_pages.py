"""What `docs/your-pages.md` shows is code: the examples are checked for types with the site, and shown as they are."""

import importlib
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOORS = ROOT / "examples" / "doors"


def test_the_docs_show_the_examples_as_they_are() -> None:
    docs = (ROOT / "docs" / "your-pages.md").read_text()

    shown = dict(re.findall(r"^`([^`]+)`:\n\n```python\n(.*?)^```$", docs, re.MULTILINE | re.DOTALL))

    assert shown == {
        str(file.relative_to(ROOT)): file.read_text() for file in DOORS.glob("*.py") if file.name != "__init__.py"
    }


def test_each_example_names_permissions_that_there_are() -> None:
    for file in DOORS.glob("*.py"):
        importlib.import_module(f"examples.doors.{file.stem}")
