"""What the page /_sandbox/ offers with one click: failures, and changes of what a person and the bot are in.

Each preset is a form for a path of the control API or of a server's page; nothing else handles it.
"""

from collections.abc import Mapping

from sandbox.guild_page import URL
from sandbox.journal import Journal
from sandbox.moods import Mood
from sandbox.pages import PAGE, Markup, join, part
from sandbox.people import EVERYTHING, Person
from sandbox.state import Sandbox

LIST = "/users/@me/guilds"
MOODS: Mapping[str, Mapping[str, object]] = {
    "Limit the server list for a minute": {
        "mode": "rate_limited",
        "routes": LIST,
        "for_seconds": 60,
        "retry_after": 60,
    },
    "Discord is slow": {"mode": "healthy", "latency_ms": 1500},
    "Discord is down": {"mode": "outage"},
    "Back to healthy": {"mode": "healthy"},
}


def presets(sandbox: Sandbox, mood: Mood) -> Markup:
    """Return the forms: those for the mood, and those for the person who used the site last. Hold the lock."""
    simulated = mood.mode != "healthy" or bool(mood.latency_ms)
    forms = [
        _form(f"{PAGE}mood", label, fields, main=simulated and label == "Back to healthy")
        for label, fields in MOODS.items()
    ]
    person = _last_person(sandbox.people, sandbox.journal)
    if person is not None:
        forms += _for_bot(person, sandbox.bot) + _for_person(person)
    if sandbox.left:
        name, guild = sandbox.left[-1]
        forms.append(_form(f"{PAGE}rejoin", _label("Put", name, "back in", guild.name), {}))
    return join(forms)


def _last_person(people: Mapping[str, Person], journal: Journal) -> Person | None:
    """Return the person of the latest request, or the first person with servers."""
    for entry in reversed(journal.entries):
        person = people.get(entry.person or "")
        if person is not None:
            return person
    return next((person for person in people.values() if person.guilds), None)


def _for_bot(person: Person, bot: Mapping[str, str]) -> list[Markup]:
    """Return a form that adds the bot to the newest server the person manages, and one that removes it."""
    managed = [guild for guild in person.guilds if guild.can_manage]
    without = next((guild for guild in reversed(managed) if guild.id not in bot), None)
    having = next((guild for guild in managed if guild.id in bot), None)
    forms = []
    if without:
        fields: dict[str, object] = {"permissions": EVERYTHING}
        forms.append(_form(f"{URL}{without.id}/bot", _label("Add the bot to", without.name), fields))
    if having:
        forms.append(_form(f"{URL}{having.id}/bot", _label("Remove the bot from", having.name), {"do": "delete"}))
    return forms


def _for_person(person: Person) -> list[Markup]:
    """Return a form that removes the person from their newest server; an owner can't leave theirs."""
    guild = next((guild for guild in reversed(person.guilds) if not guild.owner), None)
    if guild is None:
        return []
    label = _label("Remove", person.name, "from", guild.name)
    return [_form(f"{URL}{guild.id}/member", label, {"person": person.name, "do": "delete"})]


def _label(before: str, first: str, between: str = "", second: str = "") -> Markup:
    return part("preset_label.html", before=before, first=first, between=between, second=second)


def _form(action: str, label: str, fields: Mapping[str, object], *, main: bool = False) -> Markup:
    sent = {**fields, "back": "1"} if action.startswith(URL) else fields
    hidden = join([part("hidden.html", name=name, value=value) for name, value in sent.items()])
    return part("preset.html", action=action, hidden=hidden, label=label, kind="main" if main else "")
