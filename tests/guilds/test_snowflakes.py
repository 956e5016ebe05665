"""Discord's ids: numbers in the database, strings in forms, JSON and dumps, and nothing that is rounded."""

import json
from typing import Any

import pytest
from django import forms
from django.core import serializers as dumps
from django.db import models
from django.test.utils import isolate_apps
from rest_framework import serializers

from accounts.snowflakes import parse
from guilds.snowflakes import SnowflakeField, SnowflakeFormField, SnowflakeSerializerField

ID = 1262341230011875430  # JavaScript would round it
WRONG = [
    "",
    " ",
    "-1",
    "+1",
    "1.0",
    "1e3",
    "0x1",
    "９",
    "1_000",
    "007",
    "9223372036854775808",
    "99999999999999999999",
    "staff",
]


@pytest.fixture
def stored() -> Any:
    """A model with an id, another that may be missing, its form and its serializer."""
    with isolate_apps("guilds"):

        class Stored(models.Model):  # noqa: DJ008 - no page shows it
            guild_id = SnowflakeField(primary_key=True)
            role_id = SnowflakeField(null=True, blank=True)

            class Meta:
                app_label = "guilds"

    return Stored


def form_of(model: Any, data: Any = None, **options: Any) -> Any:
    return forms.modelform_factory(model, fields=["guild_id", "role_id"])(data, **options)


def serializer_of(model: Any, *arguments: Any, **options: Any) -> Any:
    meta = type("Meta", (), {"model": model, "fields": ["guild_id", "role_id"]})
    return type("Serializer", (serializers.ModelSerializer,), {"Meta": meta})(*arguments, **options)


def test_the_column_is_a_number(stored: Any) -> None:
    field = stored._meta.get_field("guild_id")

    assert field.get_internal_type() == "BigIntegerField"
    assert field.deconstruct()[1] == "guilds.snowflakes.SnowflakeField"
    assert json.loads(dumps.serialize("json", [stored(guild_id=ID)]))[0]["pk"] == ID


def test_a_form_takes_a_string_and_gives_a_number(stored: Any) -> None:
    form = form_of(stored, instance=stored(guild_id=1, role_id=ID))
    field = form.fields["role_id"]

    assert isinstance(field, SnowflakeFormField)
    assert (field.clean(f" {ID} "), field.clean("")) == (ID, None)
    assert f'value="{ID}"' in str(form["role_id"])


def test_a_form_notices_changes_only(stored: Any) -> None:
    field = form_of(stored).fields["role_id"]

    assert not field.has_changed(ID, str(ID))
    assert not field.has_changed(None, "")
    assert field.has_changed(None, str(ID))
    assert field.has_changed(ID, "")


@pytest.mark.parametrize("wrong", WRONG)
def test_a_form_names_a_wrong_id(stored: Any, wrong: str) -> None:
    form = form_of(stored, {"guild_id": wrong})

    assert list(form.errors) == ["guild_id"]


def test_json_has_strings(stored: Any) -> None:
    serializer = serializer_of(stored, stored(guild_id=ID, role_id=None))

    assert isinstance(serializer.fields["guild_id"], SnowflakeSerializerField)
    assert serializer.data == {"guild_id": str(ID), "role_id": None}


@pytest.mark.parametrize("wrong", [*WRONG, ID, 1.0, True, None, [], {}])
def test_json_with_a_wrong_id_is_refused(stored: Any, wrong: Any) -> None:
    field = serializer_of(stored).fields["guild_id"]

    with pytest.raises(serializers.ValidationError):
        field.run_validation(wrong)


@pytest.mark.parametrize("text", ["0", "1", "9223372036854775807", str(ID)])
def test_a_string_of_digits_is_an_id(text: str) -> None:
    assert parse(text) == int(text)
