"""The admin's front page: how the site stands with Discord, and an index of the lists by question."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import gate
from accounts.admin.discord import blockades, brake_in_words, gate_in_words
from accounts.admin.kit import SECTIONS, Words, list_url, moment
from accounts.limits import Gate
from accounts.models import DiscordGate, DiscordRefusal
from accounts.templatetags.durations import ago
from guilds.admin.charts import Chart
from guilds.admin.numbers import last_hour
from guilds.admin.records import REASONS, TIER_KINDS, TIERS
from guilds.engine.freshness import Tier
from guilds.models import DoctorReport, GuildListVerification, ServingMinute
from guilds.operations import report, schedule, status
from guilds.operations.doctor.examination import said
from guilds.operations.status import Failure, JobStatus, ResourceStatus, Status
from guilds.operations.verdict import exit_code, judge

# By exit code: the colour and its name.
LEVELS: tuple[tuple[str, Words], ...] = (("good", _("OK")), ("fair", _("Warning")), ("bad", _("Critical")))

# The doctor's findings that are shown, by level.
DOCTOR_LEVELS: dict[str, tuple[str, Words]] = {"warning": ("fair", _("Warning")), "error": ("bad", _("Error"))}


@dataclass(frozen=True, slots=True)
class State:
    """A state in words; `kind` is its colour."""

    kind: str
    words: Words | str


@dataclass(frozen=True, slots=True)
class Barrier:
    """The gate or the brake: its state, a sentence about it, and the list that says more (empty if not permitted)."""

    name: str
    state: State
    words: str
    more: str
    url: str


@dataclass(frozen=True, slots=True)
class ListCount:
    state: State
    number: int
    url: str


@dataclass(frozen=True, slots=True)
class FailureRow:
    state: State
    people: int
    url: str
    next_attempt: str


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job's last run and last success as ages, and by when the next success is expected."""

    command: str
    state: State
    finished: str
    succeeded: str
    expected_by: str


@dataclass(frozen=True, slots=True)
class FindingRow:
    """A warning or an error of the doctor. `lang` is its language if it isn't the reader's."""

    state: State
    sentence: str
    advice: str
    lang: str


@dataclass(frozen=True, slots=True)
class DoctorCard:
    """The last run of `manage.py doctor`: `age` is empty if there was none."""

    age: str
    findings: tuple[FindingRow, ...]


@dataclass(frozen=True, slots=True)
class FrontPage:
    """What the page shows. `lists`, `failures` and `chart` are None if the operator may not see them."""

    level: State
    verdict: Promise | str
    barriers: tuple[Barrier, ...]
    opens_gate: bool
    lists: tuple[ListCount, ...] | None
    failures: tuple[FailureRow, ...] | None
    jobs: tuple[JobRow, ...]
    doctor: DoctorCard
    chart: Chart | None
    numbers_url: str


def front_page(request: HttpRequest) -> FrontPage:
    found = status.read()
    sees_lists = may_view(request, GuildListVerification)
    sees_numbers = may_view(request, ServingMinute)
    return FrontPage(
        level=State(*LEVELS[exit_code(found.facts)]),
        verdict=report.TITLES[judge(found.facts)],
        barriers=_barriers(request, found),
        opens_gate=found.gate.state != "open" and request.user.has_perm("accounts.change_discordgate"),
        lists=_lists(found.lists) if sees_lists else None,
        failures=tuple(_failure(each) for each in found.failures) if sees_lists else None,
        jobs=tuple(_job(each, found.now) for each in found.jobs),
        doctor=_doctor(found.now),
        chart=last_hour(found.now) if sees_numbers else None,
        numbers_url=list_url(ServingMinute, period="hour") if sees_numbers else "",
    )


def blockades_now() -> list[str]:
    """Describe what stops requests to Discord now. Two small queries, as every page of the admin makes them."""
    state, now = gate.read()
    return blockades(now, state)


def may_view(request: HttpRequest, model: type[Model]) -> bool:
    model_admin = admin.site._registry.get(model)
    return bool(model_admin and model_admin.has_view_permission(request))


def _barriers(request: HttpRequest, found: Status) -> tuple[Barrier, ...]:
    states = {"open": ("good", _("open")), "shut": ("bad", _("shut")), "probing": ("fair", _("waiting"))}
    brakes = {"off": ("good", _("off")), "soft": ("fair", _("on")), "hard": ("bad", _("on"))}

    def url(model: type[Model]) -> str:
        return list_url(model) if may_view(request, model) else ""

    return (
        Barrier(
            gettext("Gate"),
            State(*states[found.gate.state]),
            gate_in_words(Gate(found.gate.until, found.gate.reason or "", found.gate.streak), found.now),
            gettext("Discord gate"),
            url(DiscordGate),
        ),
        Barrier(
            gettext("Brake"),
            State(*brakes[found.brake.state]),
            brake_in_words(found.brake, found.now),
            gettext("Discord refusals"),
            url(DiscordRefusal),
        ),
    )


def _lists(lists: ResourceStatus) -> tuple[ListCount, ...]:
    counts = (
        (Tier.FRESH, lists.fresh + lists.due),
        (Tier.STALE, lists.stale),
        (Tier.EXPIRED, lists.expired),
        (Tier.NONE, lists.never_verified),
    )
    return (
        *(ListCount(State(TIER_KINDS[tier], TIERS[tier]), number, _verifications(tier)) for tier, number in counts),
        ListCount(State("bad", _("refused")), lists.refused, _verifications("refused")),
    )


def _verifications(state: str) -> str:
    return list_url(GuildListVerification, freshness=state)


def _failure(failure: Failure) -> FailureRow:
    if failure.is_refusal:
        next_attempt = gettext("when they sign in again")
    elif failure.next_attempt_at is None:
        next_attempt = gettext("on next visit")
    else:
        next_attempt = moment(failure.next_attempt_at)
    return FailureRow(
        State("bad" if failure.is_refusal else "fair", REASONS[failure.reason]),
        failure.people,
        list_url(GuildListVerification, reason=failure.reason),
        next_attempt,
    )


def _job(job: JobStatus, now: datetime) -> JobRow:
    expected_by = job.succeeded_at + schedule.jobs()[job.command].overdue if job.succeeded_at else None
    if job.finished_at is None:
        state = State("none", _("never finished"))
    elif not job.succeeded:
        state = State("bad", _("failed"))
    elif expected_by and expected_by < now:
        state = State("fair", _("overdue"))
    else:
        state = State("good", _("succeeded"))

    def age(of: datetime | None) -> str:
        return _age(of, now) if of else moment(None)

    return JobRow(job.command, state, age(job.finished_at), age(job.succeeded_at), moment(expected_by))


def _doctor(now: datetime) -> DoctorCard:
    report = DoctorReport.objects.first()
    if report is None:
        return DoctorCard("", ())
    rows = [_finding(row) for row in report.findings if row["level"] in DOCTOR_LEVELS]
    return DoctorCard(_age(report.examined_at, now), tuple(rows))


def _finding(row: Mapping[str, Any]) -> FindingRow:
    state, sentence = State(*DOCTOR_LEVELS[row["level"]]), said(row, "sentence")
    # Django's checks have no translations.
    lang = "en" if "sentence" not in row.get("templates", {}) else ""
    return FindingRow(state, sentence, said(row, "advice"), lang)


def _age(of: datetime, now: datetime) -> str:
    return ago(max((now - of) // timedelta(seconds=1), 0))


def by_section(app_list: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Group the models of Django's `app_list` by their admin's section; those without one stay with their app."""
    groups: dict[Any, dict[str, Any]] = {
        section: {"name": section.name, "question": section.question, "models": []} for section in SECTIONS
    }
    for app in app_list:
        for model in app["models"]:
            section = getattr(admin.site._registry[model["model"]], "section", None)
            key = section or app["app_label"]
            groups.setdefault(key, {"name": app["name"], "models": []})["models"].append(model)
    return [group for group in groups.values() if group["models"]]
