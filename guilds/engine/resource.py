"""What differs between the kinds of answers that the engine stores. Everything else is written once.

A resource names its model, says whose answer a record is, asks Discord, and compares the answer with the stored one. It
makes no decision, takes no lease and opens no transaction.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar

from django.db import IntegrityError, connection
from django.db.models import QuerySet
from django.db.models.expressions import Combinable
from django.utils.functional import cached_property

from accounts.background import FollowUp
from accounts.clock import Now
from accounts.compiled import CompiledQuery
from accounts.discord import DiscordClient
from accounts.limits import Priority, Reason
from guilds.engine.freshness import Windows
from guilds.engine.records import Record
from guilds.engine.refusal import NoAnswer

R = TypeVar("R", bound=Record)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Claim(Generic[R]):
    """The right to ask Discord for one record until the lease ends or something increments the generation.

    `record` is as it was read. While the claim holds, so is the row, but for its lease and generation.
    """

    record: R
    generation: int
    at: datetime
    priority: Priority
    deadline: float = field(compare=False)


@dataclass(frozen=True, slots=True)
class Change:
    """How an answer differs from the stored one.

    `fields` are columns of the record. `write` changes other rows and runs in the storing transaction. `follow_up` runs
    after the commit, once the readers who wait have been released.
    """

    fields: Mapping[str, object]
    write: Callable[[], None]
    follow_up: FollowUp | None = None


class Resource(ABC, Generic[R, V]):
    """One kind of answer: `R` is the model of its records, `V` the type of Discord's answer.

    `name` is part of its log events. `key` are the columns that say whose answer a record is, all integers. `beside`
    are expressions that every read brings along as attributes of the record.
    """

    name: ClassVar[str]
    key: ClassVar[tuple[str, ...]]
    beside: ClassVar[Mapping[str, Combinable]] = {}

    def __init__(self, model: type[R]) -> None:
        self.model = model
        model.resource = self

    @abstractmethod
    def windows(self) -> Windows:
        """The durations of the policy."""

    @abstractmethod
    def refresh_at(self, record: R) -> float:
        """The share of the fresh window after which a new answer is due."""

    @abstractmethod
    def ask(self, record: R, client: DiscordClient) -> V:
        """Discord's complete answer. Raises what the client and `accounts.tokens` raise."""

    @abstractmethod
    def compare(self, claimed: Claim[R], value: V) -> Change | None:
        """What storing `value` changes; None if it equals what is stored. It may read, before the transaction."""

    def read(self, *key: int) -> tuple[R, datetime]:
        """The record and the database's present moment, in one query; the row is created if it is missing.

        Raises `NoAnswer` if the person was deleted meanwhile: they have to sign in again.
        """
        rows = self._query.rows(*key)
        if not rows:
            with suppress(IntegrityError):
                record = self.model(**dict(zip(self.key, key, strict=True)))
                self.model._default_manager.bulk_create([record], ignore_conflicts=True)
            rows = self._query.rows(*key)
        if not rows:
            raise NoAnswer(self.name, Reason.RECONNECT_REQUIRED)
        return self.record_of(rows[0])

    def columns(self, path: str = "") -> list[Any]:
        """What a query selects to read a record at `path` along with other rows. `record_of` makes it a record."""
        return [*(f"{path}{name}" for name in self._fields), Now(), *self.beside.values()]

    def record_of(self, values: Sequence[Any]) -> tuple[R, datetime]:
        """The record and the database's present moment, from the values of `columns`.

        The record has no primary key if an outer join found none.
        """
        count = len(self._fields)
        record = self.model.from_db(connection.alias, self._fields, values[:count])
        for name, value in zip(self.beside, values[count + 1 :], strict=True):
            setattr(record, name, value)
        return record, values[count]

    def whose(self, record: R) -> dict[str, object]:
        """The record's key, which every log line about it shows."""
        return {name: getattr(record, name) for name in self.key}

    def event(self, pattern: str) -> str:
        """The name of a log event, with the resource's name in the place of the braces."""
        return pattern.format(self.name)

    @cached_property
    def _fields(self) -> list[str]:
        return [field.attname for field in self.model._meta.concrete_fields]

    @cached_property
    def _query(self) -> CompiledQuery:
        def build(*key: int) -> "QuerySet[Any, Any]":
            records = self.model._default_manager.filter(**dict(zip(self.key, key, strict=True)))
            return records.values_list(*self.columns())

        return CompiledQuery(build, len(self.key))
