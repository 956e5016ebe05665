"""`docs/forms.md` shows the examples unchanged."""

import re
from pathlib import Path

from accounts.discord import ChannelKind

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "forms.md").read_text()


def test_the_docs_show_the_examples_as_they_are() -> None:
    form, view = re.findall(r"^```python\n(.*?)^```$", DOCS, re.MULTILINE | re.DOTALL)

    assert form == (ROOT / "examples" / "forms.py").read_text()
    assert view in (ROOT / "examples" / "views.py").read_text()


def test_the_docs_name_every_kind_of_channel_that_a_server_can_have() -> None:
    (kinds,) = re.findall(r"only these kinds: (.*?)\. ", DOCS)

    named = set(re.findall(r"`(\w+)`", kinds))
    assert named == {kind.name.lower() for kind in ChannelKind if kind is not ChannelKind.DIRECTORY}
