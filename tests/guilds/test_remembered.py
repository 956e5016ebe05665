"""`{% remembered %}` renders its body once for each value, and the body sees nothing but the value."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.template import Context, Engine, RequestContext, Template, TemplateSyntaxError
from django.test import RequestFactory
from django.utils import translation

from guilds.templatetags import remembered

TEXT = "{% load remembered %}{% remembered name in names %}<b>{{ name }}</b> {% endremembered %}"


@dataclass(frozen=True)
class Name:
    """Equal to any other of the same text; counts in `renders` how often a template rendered this one."""

    text: str
    renders: list[str] = field(default_factory=list, compare=False)

    def __str__(self) -> str:
        self.renders.append(self.text)
        return self.text


def rendered(template: Template, *names: Any) -> str:
    return template.render(Context({"names": names}))


def test_equal_values_are_rendered_once() -> None:
    template = Template(TEXT)
    first, second = Name("ada"), Name("ada")

    assert [rendered(template, first), rendered(template, second)] == ["<b>ada</b>"] * 2
    assert (first.renders, second.renders) == (["ada"], [])


def test_other_values_other_languages_and_other_templates_are_rendered_anew() -> None:
    template = Template(TEXT)
    rendered(template, Name("ada"))
    linus, german, elsewhere = Name("linus"), Name("ada"), Name("ada")

    assert rendered(template, linus) == "<b>linus</b>"
    with translation.override("de"):
        assert rendered(template, german) == "<b>ada</b>"
    assert rendered(Template(TEXT), elsewhere) == "<b>ada</b>"

    assert all(name.renders for name in (linus, german, elsewhere))


def test_each_value_is_rendered_in_its_place() -> None:
    template = Template(TEXT)
    rendered(template, Name("linus"))

    assert rendered(template, Name("ada"), Name("linus"), Name("grace")) == "<b>ada</b><b>linus</b><b>grace</b>"


@pytest.mark.parametrize("autoescape", [True, False])
def test_remembered_text_is_escaped(autoescape: bool) -> None:
    template = Template(TEXT)

    texts = [template.render(Context({"names": [Name("<i>")]}, autoescape=autoescape)) for _ in range(2)]

    assert texts == ["<b>&lt;i&gt;</b>"] * 2


@pytest.mark.parametrize(
    "body",
    [
        "{{ secret }}",
        "{{ request.path }}",
        "{{ user }}",
        "{{ csrf_token }}",
        "{% csrf_token %}",
        "{% if secret %}secret{% endif %}",
        "{{ forloop.counter }}",
        "{% include 'guilds/_result.html' %}",
    ],
)
def test_the_body_sees_only_the_value(body: str) -> None:
    request = RequestFactory().get("/secret/")
    request.user = AnonymousUser()
    page = {"secret": "secret", "guild_list": [1, 2], "found": 1, "is_narrowed": True, "rows": [1]}
    text = f"{{% remembered name in names %}}{body}{{% endremembered %}}"
    names = {"names": [Name("ada")]}

    on_a_page = Template(f"{{% load remembered %}}{{% for row in rows %}}{text}{{% endfor %}}")
    alone = Template(f"{{% load remembered %}}{text}")

    assert on_a_page.render(RequestContext(request, page | names)) == alone.render(Context(names))


def test_a_body_that_fails_says_where() -> None:
    engine = Engine(debug=True, libraries={"remembered": remembered.__name__})
    template = engine.from_string(TEXT.replace("{{ name }}", "{{ name.fails }}"))

    class Failing:
        def fails(self) -> str:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        rendered(template, Failing())

    assert caught.value.template_debug["during"] == "{{ name.fails }}"  # type: ignore[attr-defined]  # Django's


@pytest.mark.parametrize(
    ("words", "values", "expected"),
    [
        ("name", ["ada", "linus", "ada"], ["<b>ada</b>", "<b>linus</b>", "<b>ada</b>"]),
        ("", ["ada", "linus"], ["<b></b>", "<b></b>"]),
    ],
)
def test_one_value_or_none_needs_no_loop(words: str, values: list[str], expected: list[str]) -> None:
    template = Template(f"{{% load remembered %}}{{% remembered {words} %}}<b>{{{{ name }}}}</b>{{% endremembered %}}")

    assert [template.render(Context({"name": value})) for value in values] == expected


@pytest.mark.parametrize("words", ["name in", "name of names", "name in names too"])
def test_a_tag_that_is_no_loop_is_refused(words: str) -> None:
    with pytest.raises(TemplateSyntaxError, match="NAME"):
        Template(f"{{% load remembered %}}{{% remembered {words} %}}{{% endremembered %}}")


def test_the_number_of_remembered_texts_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "MAX_REMEMBERED", 2)
    template = Template(TEXT)
    node = template.nodelist.get_nodes_by_type(remembered.RememberedNode)[0]

    for number in range(10):
        rendered(template, number)

    assert len(node.rendered) <= 2
