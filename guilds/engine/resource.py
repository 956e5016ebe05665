"""The interface of a resource: everything that differs between the kinds of answers the engine stores.

A resource names its model and the key of a record, requests the answer from Discord, and compares it with the stored
one. It makes no decision, acquires no lease and opens no transaction.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Generic, TypeVar

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import OuterRef, QuerySet
from django.db.models.expressions import Combinable
from django.utils.functional import cached_property

from accounts import gate
from accounts.background import FollowUp
from accounts.clock import Now
from accounts.compiled import CompiledQuery
from accounts.database import is_foreign_key_violation
from accounts.discord import DiscordClient
from accounts.limits import Priority, Reason
from guilds.engine.freshness import Windows
from guilds.engine.metrics import Counts
from guilds.engine.records import OF_THE_GATE, Record
from guilds.engine.refusal import NoAnswer

R = TypeVar("R", bound=Record)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Claim(Generic[R]):
    """The right to request one record from Discord until the lease ends or the generation is incremented.

    `record` is as it was read. While the claim holds, the row stays unchanged except for its lease and generation.
    """

    record: R
    generation: int
    at: datetime
    priority: Priority
    deadline: float = field(compare=False)


@dataclass(frozen=True, slots=True)
class Change:
    """The difference between a new answer and the stored one.

    `fields` are new values for columns of the record. `write` changes other rows, in the same transaction. `follow_up`
    runs after the commit, when the waiting readers have been released.
    """

    fields: Mapping[str, object]
    write: Callable[[], None] = lambda: None
    follow_up: FollowUp | None = None


def windows_of_settings() -> Windows:
    """The durations for answers about a person."""
    return Windows(
        fresh=timedelta(minutes=settings.DISCORD_GUILD_CACHE_FRESH_MINUTES),
        stale=timedelta(hours=settings.DISCORD_GUILD_CACHE_STALE_HOURS),
        soft_wait=timedelta(milliseconds=settings.DISCORD_REFRESH_WAIT_MS),
        lease=gate.attempt_lease(),
    )


class Resource(ABC, Generic[R, V]):
    """One kind of answer: `R` is the model of its records, `V` the type of Discord's answer.

    `name` is part of its log events and the label of its metrics. `key` names the integer columns that identify a
    record. `beside` are extra expressions that every read selects and sets as attributes of the record. `is_purged`
    says whether records that were not verified for the retention period are deleted.
    """

    name: ClassVar[str]
    key: ClassVar[tuple[str, ...]]
    beside: ClassVar[Mapping[str, Combinable]] = {}
    is_purged: ClassVar[bool] = True

    def __init__(self, model: type[R]) -> None:
        self.model = model
        self.counts = Counts(self.name)
        model.resource = self

    def is_enabled(self) -> bool:
        """Whether the site has the credentials to request the answer."""
        return True

    @abstractmethod
    def windows(self) -> Windows:
        """The durations of the policy."""

    @abstractmethod
    def refresh_at(self, record: R) -> float:
        """The share of the fresh window after which a new answer is due."""

    def held_until(self, record: R, now: datetime, priority: Priority) -> datetime | None:
        """Return until when a limit that the record shares with others forbids a request; None if it may be sent."""
        return None

    def limits_guild(self, record: R) -> bool:
        """Whether Discord limits the request per guild, as the bot sends it, where others are limited per person."""
        return False

    def is_refusal_over(self, record: R) -> bool:
        """Whether the refusal in `record` has ended without a response or a sign-in. Called for refusals only."""
        return False

    @abstractmethod
    def ask(self, record: R, client: DiscordClient) -> V:
        """Request the complete answer from Discord. Raises what the client and `accounts.tokens` raise."""

    @abstractmethod
    def compare(self, claimed: Claim[R], value: V) -> Change | None:
        """Return what storing `value` would change; None for no change. It may read; no transaction is open."""

    def rows_of(self, record: int | OuterRef) -> "QuerySet[Any] | None":
        """Return the rows of another model that hold the answer of the record with this primary key.

        Returns None if the record's own columns hold the answer; such a record is deleted together with it.
        """
        return None

    def read(self, *key: int) -> tuple[R, datetime]:
        """Return the record and the database's current time, with one query. Creates the row if it is missing.

        Raises `NoAnswer` if the person was deleted in the meantime and has to sign in again.
        """
        rows = self._query.rows(*key) or self._create(*key)
        return self.record_of(rows[0])

    def find(self, *key: int, gate: bool = True) -> tuple[R, datetime] | None:
        """Return what `read` returns; None if there is no such record. Without `gate`, it knows nothing of the gate."""
        rows = (self._query if gate else self._query_without_gate).rows(*key)
        return self.record_of(rows[0]) if rows else None

    def _create(self, *key: int) -> list[list[Any]]:
        """Create the record, unless another reader just did, and return the query's rows."""
        try:
            # On SQLite, `ignore_conflicts` would also ignore a missing required value.
            with transaction.atomic():
                self.model._default_manager.create(**dict(zip(self.key, key, strict=True)))
        except IntegrityError as error:
            if is_foreign_key_violation(error):
                raise NoAnswer(self.name, Reason.RECONNECT_REQUIRED) from None
            if rows := self._query.rows(*key):
                return rows
            raise
        rows = self._query.rows(*key)
        if not rows:
            # The record was created, then deleted together with the person.
            raise NoAnswer(self.name, Reason.RECONNECT_REQUIRED)
        return rows

    def columns(self, path: str = "") -> list[Any]:
        """Return the expressions that select a record at `path` in a larger query. `record_of` makes it a record."""
        return [*(f"{path}{name}" for name in self._fields), Now(), *self._beside.values()]

    def record_of(self, values: Sequence[Any]) -> tuple[R, datetime]:
        """Return the record and the database's current time, from the values of `columns`, with or without the gate.

        The record has no primary key if an outer join found no row.
        """
        count = len(self._fields)
        record = self.model.from_db(connection.alias, self._fields, values[:count])
        # Not strict, because the gate's columns are the last and can be missing.
        for name, value in zip(self._beside, values[count + 1 :], strict=False):
            setattr(record, name, value)
        return record, values[count]

    def whose(self, record: R) -> dict[str, object]:
        """Return the record's key by column name, for log lines about it."""
        return {name: getattr(record, name) for name in self.key}

    def event(self, pattern: str) -> str:
        """Return the name of a log event: `pattern` with the resource's name in place of the braces."""
        return pattern.format(self.name)

    @cached_property
    def _beside(self) -> Mapping[str, Combinable]:
        return {**self.beside, **OF_THE_GATE}

    @cached_property
    def _fields(self) -> list[str]:
        return [field.attname for field in self.model._meta.concrete_fields]

    @cached_property
    def _query(self) -> CompiledQuery:
        return self._compiled(self.columns())

    @cached_property
    def _query_without_gate(self) -> CompiledQuery:
        return self._compiled(self.columns()[: -len(OF_THE_GATE)])

    def _compiled(self, columns: list[Any]) -> CompiledQuery:
        def build(*key: int) -> "QuerySet[Any, Any]":
            records = self.model._default_manager.filter(**dict(zip(self.key, key, strict=True)))
            return records.values_list(*columns)

        return CompiledQuery(build, *[int] * len(self.key))
