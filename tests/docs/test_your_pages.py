"""`docs/your-pages.md` shows the type-checked example modules unchanged."""

import importlib
import re
from pathlib import Path

import pytest

from accounts import hooks

ROOT = Path(__file__).parents[2]
DOORS = ROOT / "examples" / "doors"


def test_the_docs_show_the_examples_as_they_are() -> None:
    docs = (ROOT / "docs" / "your-pages.md").read_text()

    shown = dict(re.findall(r"^`([^`]+)`:\n\n```python\n(.*?)^```$", docs, re.MULTILINE | re.DOTALL))

    files = [*(file for file in DOORS.glob("*.py") if file.name != "__init__.py"), DOORS.parent / "apps.py"]
    assert shown == {str(file.relative_to(ROOT)): file.read_text() for file in files}


def test_each_example_names_permissions_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    # The example hook would be called in other tests.
    monkeypatch.setattr(hooks, "registered", {})
    for file in DOORS.glob("*.py"):
        importlib.import_module(f"examples.doors.{file.stem}")
