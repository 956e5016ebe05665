"""A request to the API, and the application that the sandbox knows."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sandbox.oauth import Grant
from sandbox.people import image_hash, user_object

BOT = "(bot)"
APPLICATION_ID = "1041022600642236426"
BOT_USER = user_object(APPLICATION_ID, "guildhall", None, image_hash("guildhall")) | {"bot": True}
TRUE = ("true", "True", "1")


@dataclass(frozen=True, slots=True)
class Call:
    """A parsed request to the API: `route` is the template of its path, `ids` its ids, `person` the caller."""

    method: str
    path: str
    route: str
    ids: tuple[str, ...]
    query: Mapping[str, str]
    authorization: str = field(repr=False)
    content_type: str = ""
    form: Mapping[str, str] = field(default_factory=dict, repr=False)
    person: str | None = None
    grant: Grant | None = field(default=None, repr=False)
    host: str = "localhost"

    @property
    def guild_id(self) -> str | None:
        """The id of the server that the request is about, as the client wrote it."""
        return self.ids[0] if "{guild.id}" in self.route else None

    @property
    def is_bot(self) -> bool:
        return self.person == BOT and self.grant is None
