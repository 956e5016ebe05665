"""`./run reference`: write docs/python.md, the Python names for a site's own code, with signatures and docstrings.

The names stand here, because a module also has names that are public inside the project alone.
"""

import ast
import importlib
import inspect
import os
import re
from collections.abc import Iterator
from pathlib import Path

import django

PAGE = Path(__file__).resolve().parent.parent / "docs" / "python.md"

# The names in the order of the page, by the module to import them from.
NAMES = {
    "guilds.decorators": ("guild_required", "guild_list_required", "GuildRequiredMixin", "unguarded", "open_to_all"),
    "guilds.permissions": ("InGuild", "CanManageGuild", "ThrottledFirst", "IsService", "GuildAPIRequest"),
    "guilds.middleware": ("GuildRequest", "GuildListRequest"),
    "guilds.entered_guild": ("EnteredGuild",),
    "guilds.services": (
        "get_guild_list",
        "refresh_guild_list",
        "GuildList",
        "Membership",
        "get_member",
        "refresh_member",
        "GuildMembership",
        "get_directory",
        "refresh_directory",
        "Directory",
        "Served",
        "NoAnswer",
        "RefreshTooSoon",
    ),
    "guilds.problems": (
        "NotInGuild",
        "MayNotManage",
        "MissingPermission",
        "MissingRole",
        "Refusal",
        "BotNotInGuild",
        "BotMissingPermission",
        "BotPresenceUnknown",
    ),
    "guilds.menu": ("GuildPage", "Membership"),
    "guilds.fields": ("RoleField", "ChannelField"),
    "guilds.snowflakes": ("SnowflakeField", "SnowflakeFormField", "SnowflakeSerializerField"),
    "guilds.templatetags.guild_access": ("may", "has_role", "guild"),
    "guilds.hooks": ("on_membership_change", "MembershipChange", "PermissionsChange", "Rights", "RolesChange"),
    "accounts.hooks": ("on_sign_in", "SignIn"),
    "accounts.token_scopes": ("TokenScope", "Holder"),
    "accounts.service_tokens": ("Service",),
    "guilds.api.authentication": ("ServiceRequest",),
    "guilds.operations.jobs": ("JobCommand",),
    "guilds.personal_data": ("forget_user",),
    "guilds.news": (
        "member_joined",
        "member_changed",
        "member_left",
        "directory_changed",
        "guild_changed",
        "bot_left",
        "after_gap",
    ),
    "accounts.models": ("User",),
    "guilds.models": ("BotGuild", "UserGuildMembership"),
}

INTRODUCTION = """\
# Python names

The names that a site's own code can import. `./run reference` makes this page from their signatures and docstrings.
[Pages and endpoints of your own](your-pages.md) shows how to use them, and [Testing your own pages](testing.md) lists
the fixtures. All other names can change with any release.
"""

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef


def main() -> None:
    PAGE.write_text(page())


def page() -> str:
    return "\n".join([INTRODUCTION, *(line for module in NAMES for line in _module(module))])


def _module(module: str) -> Iterator[str]:
    yield f"## `{module}`\n"
    for name in NAMES[module]:
        yield f"### `{name}`\n"
        first = next(each for each, names in NAMES.items() if name in names)
        yield from _entry(*_definition(module, name)) if first == module else [f"The same as in `{first}`.\n"]


def _definition(module: str, name: str) -> tuple[list[Definition], str]:
    """Return the definitions of the name, several for an overloaded function, and the file's text."""
    value = inspect.unwrap(getattr(importlib.import_module(module), name))
    file = inspect.getsourcefile(value)
    assert file
    source = Path(file).read_text()
    return [
        node for node in ast.parse(source).body if isinstance(node, Definition) and node.name == value.__name__
    ], source


def _entry(definitions: list[Definition], source: str) -> Iterator[str]:
    last = definitions[-1]
    yield "```python"
    # Callers of an overloaded function see its overloads, and not the last definition.
    for node in definitions[:-1] or definitions:
        yield from _class(node, source) if isinstance(node, ast.ClassDef) else [_head(node, source)]
    yield "```\n"
    yield f"{_prose(ast.get_docstring(last) or '')}\n"
    if isinstance(last, ast.ClassDef) and (members := list(_members(last, source))):
        yield "\n".join(members) + "\n"


def _class(node: ast.ClassDef, source: str) -> Iterator[str]:
    bases = [base for base in map(ast.unparse, node.bases) if not base.startswith("_")]
    yield f"class {node.name}" + (f"({', '.join(bases)})" if bases else "")
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target)[0].islower():
            yield f"    {ast.get_source_segment(source, statement)}"
        elif isinstance(statement, Function) and statement.name == "__init__":
            yield f"    {_head(statement, source)}"


def _members(node: ast.ClassDef, source: str) -> Iterator[str]:
    """The fields of a model, the public properties, and the methods that have a docstring, each with what it says."""
    for statement in node.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call):
            texts = [keyword.value for keyword in statement.value.keywords if keyword.arg == "help_text"]
            yield from (f"- `{ast.unparse(statement.targets[0])}`: {_text(text)}" for text in texts)
        if not isinstance(statement, Function) or statement.name.startswith("_"):
            continue
        decorators = {ast.unparse(decorator) for decorator in statement.decorator_list}
        doc = _prose(ast.get_docstring(statement) or "").replace("\n\n", " ")
        if decorators & {"property", "cached_property"}:
            returned = ast.unparse(statement.returns).strip("'") if statement.returns else "object"
            shown = f"{statement.name}: {returned}"
        elif doc:
            head = " ".join(_head(statement, source).split()).partition("def ")[2]
            shown = re.sub(r"\((?:self|cls)(?:, )?", "(", head, count=1).replace("( ", "(").replace(", )", ")")
        else:
            continue
        yield f"- `{shown}`" + (f": {doc}" if doc else "")


def _text(translated: ast.expr) -> str:
    """The argument of `_("…")`."""
    assert isinstance(translated, ast.Call)
    text: str = ast.literal_eval(translated.args[0])
    return text


def _head(node: Function, source: str) -> str:
    """The definition as it is written, without its body."""
    lines = source.splitlines()[node.lineno - 1 : node.body[0].lineno]
    lines[-1] = lines[-1][: node.body[0].col_offset]
    return re.sub(r":\s*(#.*)?$", "", "\n".join(lines).rstrip())


def _prose(doc: str) -> str:
    """The docstring with one line for each paragraph."""
    paragraphs = (" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", doc))
    return "\n\n".join(paragraphs)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    main()
