"""`{% remembered %}`: drawn once for the values it names, and never for others."""

from typing import Any

import pytest
from django.template import Context, Template, TemplateSyntaxError
from django.utils import translation

TEXT = "{% load remembered %}{% remembered name in names %}{{ name }} {{ other }};{% endremembered %}"


def drawn(template: Template, *names: Any, other: Any = None) -> str:
    return template.render(Context({"names": names, "other": other}))


def test_the_same_values_are_drawn_once() -> None:
    template = Template(TEXT)

    assert drawn(template, "ada", other=1) == "ada 1;"
    assert drawn(template, "ada", other=2) == "ada 1;"


def test_other_values_and_other_languages_are_drawn_anew() -> None:
    template = Template(TEXT)
    drawn(template, "ada", other=1)

    assert drawn(template, "linus", other=2) == "linus 2;"
    with translation.override("de"):
        assert drawn(template, "ada", other=3) == "ada 3;"


def test_what_is_drawn_stays_escaped() -> None:
    template = Template(TEXT)

    assert [drawn(template, "<b>", other=1) for _ in range(2)] == ["&lt;b&gt; 1;"] * 2


def test_each_value_is_drawn_in_its_place() -> None:
    template = Template(TEXT)
    drawn(template, "linus", other=1)

    assert drawn(template, "ada", "linus", "grace", other=2) == "ada 2;linus 1;grace 2;"


@pytest.mark.parametrize("words", ["", "name", "name of names", "name in names too"])
def test_a_loop_that_is_none_is_refused(words: str) -> None:
    with pytest.raises(TemplateSyntaxError, match="NAME in VALUES"):
        Template(f"{{% load remembered %}}{{% remembered {words} %}}{{% endremembered %}}")


def test_two_templates_remember_apart() -> None:
    assert drawn(Template(TEXT), "ada", other=1) == "ada 1;"
    assert drawn(Template(TEXT), "ada", other=2) == "ada 2;"


def test_memory_has_an_end(monkeypatch: Any) -> None:
    from guilds.templatetags import remembered

    monkeypatch.setattr(remembered, "MOST", 2)
    template = Template(TEXT)
    node = template.nodelist.get_nodes_by_type(remembered.RememberedNode)[0]

    for number in range(10):
        drawn(template, number)

    assert len(node.kept) <= 2
