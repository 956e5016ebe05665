"""The sandbox's people and their servers.

The same name always yields the same person and the same servers, with the same ids, on every machine, so screenshots,
tests and benchmarks can rely on them. A larger `count` only appends servers.
"""

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from typing import Any

from sandbox.inputs import BadInput, as_flag, as_integer, as_object, as_text, as_texts

DISCORD_EPOCH = datetime(2015, 1, 1, tzinfo=UTC)
# When the oldest generated server was created, and the interval between servers; the thousandth is from 2025.
FIRST_SERVER = datetime(2015, 9, 1, tzinfo=UTC)
SERVER_INTERVAL = timedelta(days=3, hours=15)
# At Discord a person can be in 200 servers and a bot in any number. Enough for five pages of the bot's list.
MAX_GUILDS = 1000
MAX_SNOWFLAKE = 2**63 - 1

ADMINISTRATOR = 1 << 3
MANAGE_GUILD = 1 << 5
# Bit 52 is the highest bit that Discord defines, and bit 47 is undefined.
EVERYTHING = (1 << 53) - 1 & ~(1 << 47)
# The permissions of @everyone in a new server: see, speak, write, react, change one's own nickname.
MEMBER = 2248473465835073 & EVERYTHING & ~(ADMINISTRATOR | MANAGE_GUILD)
MANAGER = MEMBER | MANAGE_GUILD | 1 << 4 | 1 << 13 | 1 << 28
# The owner's permissions in the documentation's example, without ADMINISTRATOR and MANAGE_GUILD.
DOCUMENTED_OWNER = 36953089

PERSON_NAME = re.compile(r"[a-z0-9_.]{1,32}")
SNOWFLAKE = re.compile(r"0|[1-9][0-9]{0,18}")
IMAGE_HASH = re.compile(r"(a_)?[0-9a-f]{32}")

FIRST_WORDS = tuple(
    """
    Amber Arctic Atlas Aurora Basement Blue Bristol Cedar City Cobalt Copper Corner Cosmic Cozy Crimson Cloud Django
    Dutch Early Ember Evening Forest Friendly Garage Golden Granite Harbour Hidden Indie Jade Kyoto Lantern Lazy Lisbon
    Little Lunar Maple Midnight Misty Modular Mountain Neon Nordic Northern Old Open Orchard Paper Pixel Polar Porto
    Python Quiet Rainy Retro River Rust Salty Silver Slow Solar Sunday Sunny Tiny Twilight Urban Velvet Weekend Wild
    Winter Wooden
    """.split()  # noqa: SIM905 - a paragraph of words reads better than a list of 70 strings
)
_SECOND_WORDS = """
    Academy|Anglers|Archive|Arcade|Astronomers|Bakers|Band|Birdwatchers|Board Gamers|Book Club|Bouldering|Café|
    Chess Club|Choir|Climbers|Coders|Collective|Cooks|Crafters|Cyclists|Developers|Dungeon|Explorers|Film Club|
    Gardeners|Guild|Hackspace|Hikers|Keyboards|Knitters|Language Exchange|Learners|Library|Makers|Market|Modders|
    Observatory|Painters|Photographers|Players|Poets|Radio|Raiders|Runners|Sailors|Speedrunners|Streamers|Studio|
    Study Group|Tabletop|Tavern|Tinkerers|Trains|Translators|Workshop|Writers
""".replace("\n", "").split("|")
SECOND_WORDS = [word.strip() for word in _SECOND_WORDS]
FEATURES = (
    "NEWS",
    "BANNER",
    "ANIMATED_ICON",
    "DISCOVERABLE",
    "INVITE_SPLASH",
    "ROLE_ICONS",
    "WELCOME_SCREEN_ENABLED",
)


@dataclass(frozen=True, slots=True)
class Guild:
    """A server with one member's view of it: `owner` and `permissions` are that member's."""

    id: str
    name: str
    icon: str | None
    banner: str | None
    owner: bool
    permissions: str
    features: tuple[str, ...]
    members: int
    online: int

    @property
    def can_manage(self) -> bool:
        return self.owner or bool(int(self.permissions) & (ADMINISTRATOR | MANAGE_GUILD))

    def to_json(self, *, with_counts: bool = False) -> dict[str, Any]:
        """Return the fields of Discord's `MyGuildResponse`."""
        fields: dict[str, Any] = {
            "id": self.id,
            "name": self.name,
            "icon": self.icon,
            "banner": self.banner,
            "owner": self.owner,
            "permissions": self.permissions,
            "features": list(self.features),
        }
        if with_counts:
            fields |= {"approximate_member_count": self.members, "approximate_presence_count": self.online}
        return fields


@dataclass(frozen=True, slots=True)
class Person:
    """A person who can sign in. If `count` is set, the servers are generated and need not be stored."""

    name: str
    id: str
    global_name: str | None
    avatar: str | None
    guilds: tuple[Guild, ...] = field(repr=False)
    count: int | None = None

    def to_user(self) -> dict[str, Any]:
        """Return the fields of Discord's `UserResponse`."""
        return user_object(self.id, self.name, self.global_name, self.avatar)

    def guild(self, guild_id: str) -> Guild | None:
        return next((guild for guild in self.guilds if guild.id == guild_id), None)

    def to_json(self) -> dict[str, Any]:
        """Return the person in the format of `person_from_json` and of the state file."""
        fields: dict[str, Any] = {"id": self.id, "global_name": self.global_name, "avatar": self.avatar}
        if self.count is not None:
            return fields | {"count": self.count}
        return fields | {"guilds": [guild.to_json(with_counts=True) for guild in self.guilds]}


def user_object(user_id: str, username: str, global_name: str | None, avatar: str | None) -> dict[str, Any]:
    return {
        "id": user_id,
        "username": username,
        "avatar": avatar,
        "discriminator": "0",
        "public_flags": 0,
        "flags": 0,
        "banner": None,
        "accent_color": None,
        "global_name": global_name,
        "avatar_decoration_data": None,
        "collectibles": None,
        "primary_guild": None,
    }


def snowflake(moment: datetime, seed: str) -> str:
    """Return an id for this time; its lower 22 bits (worker, process, sequence at Discord) come from the seed."""
    milliseconds = (moment - DISCORD_EPOCH) // timedelta(milliseconds=1)
    return str(milliseconds << 22 | number_from(seed) & 0x3FFFFF)


def moment_of(snowflake_id: str) -> datetime:
    return DISCORD_EPOCH + timedelta(milliseconds=int(snowflake_id) >> 22)


def number_from(seed: str) -> int:
    return int.from_bytes(sha256(seed.encode()).digest()[:8], "big")


def image_hash(seed: str, *, animated: bool = False) -> str:
    return ("a_" if animated else "") + sha256(f"image {seed}".encode()).hexdigest()[:32]


def generated_guild(name: str, index: int) -> Guild:
    """Generate server number `index` of the person `name`."""
    seed = f"{name}/{index}"
    luck = number_from(seed)
    moment = FIRST_SERVER + index * SERVER_INTERVAL + timedelta(milliseconds=luck % 86_400_000)
    members = 3 + (luck >> 8) % 97 * ((luck >> 16) % 211 + 1)
    owner, permissions = _role(luck % 100)
    features = tuple(feature for bit, feature in enumerate(FEATURES) if luck >> 24 & 3 << 2 * bit == 0)
    return Guild(
        id=snowflake(moment, seed),
        name=_server_name(number_from(name) + index),
        icon=None if luck % 7 == 0 else image_hash(seed, animated="ANIMATED_ICON" in features),
        banner=image_hash(f"banner {seed}") if "BANNER" in features else None,
        owner=owner,
        permissions=str(permissions),
        features=("COMMUNITY", *features) if members > 500 else features,
        members=members,
        online=1 + members // (3 + luck % 9),
    )


def _role(luck: int) -> tuple[bool, int]:
    """Return `owner` and permissions, with the typical proportions of a person in many servers."""
    if luck < 2:
        return True, EVERYTHING
    if luck < 6:
        return False, EVERYTHING
    if luck < 14:
        return False, MANAGER
    return False, MEMBER


def _server_name(number: int) -> str:
    """Return one of thousands of word pairs. Multiplying by a prime scatters them without repetition."""
    pair = number * 617 % (len(FIRST_WORDS) * len(SECOND_WORDS))
    first, second = divmod(pair, len(SECOND_WORDS))
    return f"{FIRST_WORDS[first]} {SECOND_WORDS[second]}"


def generated_guilds(name: str, count: int) -> tuple[Guild, ...]:
    return tuple(generated_guild(name, index) for index in range(count))


def new_person(name: str, *, count: int) -> Person:
    born = datetime(2016, 3, 1, tzinfo=UTC) + timedelta(hours=number_from(name) % 60_000)
    return Person(
        name=name,
        id=snowflake(born, name),
        global_name=name.replace("_", " ").replace(".", " ").title(),
        avatar=image_hash(name),
        guilds=generated_guilds(name, count),
        count=count,
    )


def first_people() -> dict[str, Person]:
    """Return the initial people, who are in twelve, two hundred, one and no servers."""
    return {person.name: person for person in _first_people()}


@functools.cache
def _first_people() -> tuple[Person, ...]:
    """Generate the initial people once, as a reset for each test would otherwise spend most of its time on it."""
    ada = person_from_json("ada", {"global_name": "Ada Lovelace", "guilds": _ADAS_GUILDS})
    grace = person_from_json("grace", {"avatar": image_hash("grace", animated=True), "count": 200})
    shared = dict(ada.guilds[0].to_json(with_counts=True), owner=False, permissions=str(MEMBER))
    linus = person_from_json("linus", {"guilds": [shared]})
    nobody = person_from_json("nobody", {"global_name": None, "avatar": None, "guilds": []})
    return ada, grace, linus, nobody


# Edge cases for pages: lengths, text directions, alphabets, missing and animated images, all roles.
_ADAS_GUILDS: list[dict[str, Any]] = [
    {
        "name": "Analytical Engine Club",
        "owner": True,
        "permissions": str(EVERYTHING),
        "features": ["COMMUNITY", "NEWS"],
    },
    {"name": "1337 Krew", "owner": True, "permissions": str(DOCUMENTED_OWNER)},
    {"name": "Difference & Sons <b>GmbH</b>", "permissions": str(ADMINISTRATOR | MEMBER)},
    {"name": "Lisbon Board Gamers", "permissions": str(MANAGER)},
    {
        "name": "The Honourable Society for the Very Slow and Very Careful Reading of Very Long and Dense Old Books",
        "permissions": str(MEMBER),
    },
    {"name": "نادي القراءة العربي", "permissions": str(MANAGER)},
    {"name": "🎮🌈 ゲーム部屋 👩‍👩‍👧‍👦", "permissions": str(MEMBER)},
    {"name": "Just Ada & Friends", "icon": None, "owner": True, "permissions": str(EVERYTHING)},
    {
        "name": "Pixel Animators",
        "icon": image_hash("pixel animators", animated=True),
        "banner": image_hash("banner pixel animators"),
        "permissions": str(MEMBER),
        "features": ["ANIMATED_ICON", "BANNER", "COMMUNITY"],
    },
    {"name": "Winter Climbers", "permissions": str(MEMBER)},
    {"name": "no", "icon": None, "permissions": "0"},
    {
        "name": "Django Study Group",
        "permissions": str(ADMINISTRATOR),
        "features": ["COMMUNITY", "DISCOVERABLE"],
    },
]


def person_from_json(name: str, data: Any, previous: Person | None = None) -> Person:
    """Parse a person. Missing fields are taken from `previous` or generated. Raises BadInput."""
    if not PERSON_NAME.fullmatch(name):
        raise BadInput(
            f"a person's name must consist of 1 to 32 characters of a-z, 0-9, '_' and '.', not {name[:40]!r}"
        )
    data = as_object(data, "a person", ("id", "global_name", "avatar", "guilds", "count", "bot"))
    if "guilds" in data and "count" in data:
        raise BadInput("a person can have 'guilds' or 'count', not both")

    person = previous or new_person(name, count=0)
    count = as_integer(data["count"], "'count'", maximum=MAX_GUILDS) if "count" in data else None
    if count is not None:
        guilds = generated_guilds(name, count)
    elif "guilds" in data:
        guilds = _guilds(name, data["guilds"])
    else:
        guilds, count = person.guilds, person.count
    return Person(
        name=name,
        id=as_snowflake(data["id"], "'id'") if "id" in data else person.id,
        global_name=_text_or_none(data["global_name"], "'global_name'")
        if "global_name" in data
        else person.global_name,
        avatar=_image(data["avatar"], "'avatar'") if "avatar" in data else person.avatar,
        guilds=guilds,
        count=count,
    )


def guilds_with_the_bot(data: Any, person: Person) -> tuple[set[str], set[str]]:
    """Return the ids of the person's guilds that `data` adds the bot to, and of those it removes the bot from."""
    everywhere = data.get("bot")
    if everywhere is not None:
        ids = {guild.id for guild in person.guilds}
        return (ids, set()) if as_flag(everywhere, "'bot'") else (set(), ids)
    joined: set[str] = set()
    left: set[str] = set()
    for index, partial in enumerate(data.get("guilds", ())):
        if "bot" in partial:
            guild_id = partial.get("id", generated_guild(person.name, index).id)
            (joined if as_flag(partial["bot"], f"'guilds[{index}].bot'") else left).add(guild_id)
    return joined, left


def _guilds(name: str, partials: Any) -> tuple[Guild, ...]:
    if not isinstance(partials, list):
        raise BadInput("'guilds' must be a list of objects; {} stands for a generated server")
    if len(partials) > MAX_GUILDS:
        raise BadInput(f"'guilds' must have at most {MAX_GUILDS} servers")
    guilds = sorted(
        (_guild(name, index, partial) for index, partial in enumerate(partials)),
        key=lambda guild: int(guild.id),
    )
    for before, guild in pairwise(guilds):
        if before.id == guild.id:
            raise BadInput(f"'guilds' contains the id {guild.id} twice")
    return tuple(guilds)


_GUILD_FIELDS = (
    *("id", "name", "icon", "banner", "owner", "permissions", "features", "bot"),
    *("approximate_member_count", "approximate_presence_count"),
)


def _guild(name: str, index: int, partial: Any) -> Guild:
    what = f"guilds[{index}]"
    partial = as_object(partial, f"'{what}'", _GUILD_FIELDS)
    default = generated_guild(name, index)
    owner = as_flag(partial["owner"], f"'{what}.owner'") if "owner" in partial else False
    permissions = str(EVERYTHING if owner else MEMBER)
    members = _count(partial, "approximate_member_count", what, default.members)
    return Guild(
        id=as_snowflake(partial["id"], f"'{what}.id'") if "id" in partial else default.id,
        name=_guild_name(partial["name"], f"'{what}.name'") if "name" in partial else default.name,
        icon=_image(partial["icon"], f"'{what}.icon'") if "icon" in partial else image_hash(f"{name}/{index}"),
        banner=_image(partial["banner"], f"'{what}.banner'") if "banner" in partial else None,
        owner=owner,
        permissions=as_permissions(partial["permissions"], what) if "permissions" in partial else permissions,
        features=_features(partial, what),
        members=members,
        online=_count(partial, "approximate_presence_count", what, min(members, default.online)),
    )


def as_snowflake(value: Any, what: str) -> str:
    if not isinstance(value, str) or not SNOWFLAKE.fullmatch(value) or int(value) > MAX_SNOWFLAKE:
        raise BadInput(f'{what} must be a snowflake, a string of digits such as "80351110224678912", not {value!r}')
    return value


def as_permissions(value: Any, what: str, name: str = "permissions") -> str:
    if not isinstance(value, str) or not SNOWFLAKE.fullmatch(value) or int(value) > MAX_SNOWFLAKE:
        raise BadInput(f"'{what}.{name}' must be a string of digits such as \"2147483647\", not {value!r}")
    return value


def _guild_name(value: Any, what: str) -> str:
    text = as_text(value, what, maximum=100)
    if len(text) < 2:
        raise BadInput(f"{what} must be 2 to 100 characters long")
    return text


def _text_or_none(value: Any, what: str) -> str | None:
    return None if value is None else as_text(value, what, maximum=32)


def _image(value: Any, what: str) -> str | None:
    if value is not None and not (isinstance(value, str) and IMAGE_HASH.fullmatch(value)):
        raise BadInput(f"{what} must be null or 32 hexadecimal digits, with the prefix 'a_' if it is animated")
    return value


def _features(partial: Mapping[str, Any], what: str) -> tuple[str, ...]:
    features: Iterable[str] = as_texts(partial.get("features", []), f"'{what}.features'")
    return tuple(dict.fromkeys(features))


def _count(partial: Mapping[str, Any], name: str, what: str, default: int) -> int:
    return as_integer(partial[name], f"'{what}.{name}'", maximum=2**31 - 1) if name in partial else default
