"""The check of words finds each habit in prose of every kind, and leaves code alone."""

from pathlib import Path

import pytest

from tests import words
from tests.words import RULES, Rule, findings


@pytest.mark.parametrize("habit", RULES, ids=lambda habit: habit.sample)
def test_each_rule_catches_its_sample_in_prose_of_every_kind(habit: Rule) -> None:
    assert [rule for rule in RULES if rule.pattern.search(habit.sample)] == [habit]
    wrapped = habit.sample.replace(" ", "\n# ")
    sources = {
        "comment.py": f"x = 1  # {habit.sample}\n",
        "block.py": f"# {wrapped}\n",
        "docstring.py": f'"""{habit.sample}"""\n',
        "message.py": f'raise ValueError("{habit.sample}")\n',
        "page.html": f"<p>{habit.sample}</p>\n",
        "document.md": f"# A heading\n\n{habit.sample.replace(' ', chr(10))}\n",
        "list.md": f"- one\n- {habit.sample}\n",
        "table.md": f"| a | b |\n|---|---|\n| c | {habit.sample} |\n",
        "steps.md": f"1. Run:\n\n   ```\n   true\n   ```\n\n{habit.sample} Then call `f`.\n",
        "settings.py-tpl": f"# {habit.sample}\n",
        "run": f"# {habit.sample}\n",
    }

    assert [name for name, source in sources.items() if not list(findings(name, source))] == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("code.py", 'nobody = somebody("nobody", shall=whoever)\n'),
        ("code.md", "Run `whoever shall`:\n\n```\nnobody shall\n```\n"),
        ("good.md", "A lease may expire no later than this. It may, after 3 s, return. Who can manage it? In May.\n"),
        ("good.py", "# Ask someone who may manage the server; nothing else helps.\n"),
    ],
)
def test_code_and_plain_english_are_left_alone(path: str, source: str) -> None:
    assert list(findings(path, source)) == []


def test_a_finding_names_its_line() -> None:
    source = '"""Good.\n\nThe token shall expire.\n"""\n\n# fine\n# but nobody\n# is\n'

    assert [line for line, _, _ in findings("module.py", source)] == [7, 3]
    assert [line for line, _, _ in findings("page.md", "One.\n\nTwo\nnobody.\n")] == [4]


def test_the_files_of_operators_and_of_a_new_site_are_read() -> None:
    read = {str(path.relative_to(words.ROOT)) for path in words.files(words.ROOT)}

    assert read >= {"ops/Caddyfile", "ops/systemd/guildhall-site.service", "config/new_site/settings.py-tpl"}


def test_an_exception_excuses_its_line_in_its_file_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(words, "EXCEPTIONS", {("a.md", "nobody knows"): "a quotation"})
    (tmp_path / "a.md").write_text("As nobody knows.\n")

    assert not list(findings("a.md", "As nobody knows.\n"))
    assert list(findings("a.md", "As nobody asks.\n"))
    assert list(findings("b.md", "As nobody knows.\n"))
    assert words.stale_exceptions(tmp_path) == []
    (tmp_path / "a.md").write_text("Gone.\n")
    assert len(words.stale_exceptions(tmp_path)) == 1


def test_each_exception_has_its_reason_and_each_skipped_file_is_there() -> None:
    assert all(words.EXCEPTIONS.values())
    assert all(words.SKIPPED.values())
    assert [path for path in words.SKIPPED if not (words.ROOT / path).exists()] == []
    assert words.stale_exceptions(words.ROOT) == []
