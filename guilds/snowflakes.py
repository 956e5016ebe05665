"""Fields for Discord's ids: a number in the database and in Python, a string in forms and in JSON.

JavaScript rounds numbers above 2^53, and Discord's ids are larger. For a model's `SnowflakeField`, a `ModelForm` has
the form's field and a `ModelSerializer` the serializer's.
"""

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts import snowflakes

_INVALID = _("It must be a Discord ID, which is a number such as 41771983423143936.")

if TYPE_CHECKING:
    # Generic for the type checker only.
    BigInteger = models.BigIntegerField[Any, Any]
    StringField = serializers.Field[int, Any, str, Any]
else:
    BigInteger = models.BigIntegerField
    StringField = serializers.Field


class SnowflakeFormField(forms.CharField):
    """A text input for an id, whose value is a number; None if it is empty."""

    default_error_messages: ClassVar[dict[str, Any]] = {"invalid": _INVALID}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.widget.attrs.setdefault("inputmode", "numeric")

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        if not text:
            return None
        number = snowflakes.parse(text)
        if number is None:
            raise ValidationError(self.error_messages["invalid"], code="invalid")
        return number


class SnowflakeField(BigInteger):
    """A model's column for an id, such as a guild's or a role's."""

    description = _("Discord ID")

    def formfield(self, *_args: Any, **options: Any) -> Any:
        # Not BigIntegerField's own, which adds the bounds of a number input.
        return models.Field.formfield(self, **{"form_class": SnowflakeFormField, **options})


@extend_schema_field({"type": "string", "pattern": f"^{snowflakes.PATTERN}$"})
class SnowflakeSerializerField(StringField):
    """An id in JSON. A number is refused, because JSON's reader may have rounded it to another id."""

    default_error_messages: ClassVar[dict[str, Any]] = {
        "invalid": _('It must be a Discord ID in a string, such as "41771983423143936".')
    }

    def __init__(self, **options: Any) -> None:
        # Those that ModelSerializer passes for a column of numbers.
        for name in ("min_value", "max_value"):
            options.pop(name, None)
        super().__init__(**options)

    def to_internal_value(self, data: Any) -> int:
        number = snowflakes.parse(data) if isinstance(data, str) else None
        if number is None:
            self.fail("invalid")
        return number

    def to_representation(self, value: int) -> str:
        return str(value)


serializers.ModelSerializer.serializer_field_mapping[SnowflakeField] = SnowflakeSerializerField
