"""The site's own folder, `mysite`, from which settings, URLs, templates, static files and translations are picked up.

This project never contains that folder, so merging a new release can't conflict with anything in it. `./run new-site`
makes it. It isn't called `site`, because Python imports a module of this name at its start.
"""

import json
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from django.core.exceptions import ImproperlyConfigured

FOLDER = Path(__file__).resolve().parent.parent / "mysite"
# Its files are those of a new folder; "-tpl" keeps tools from taking them for the project's own.
TEMPLATE = Path(__file__).resolve().parent / "new_site"


def load(name: str) -> ModuleType | None:
    """Import a module of the folder, such as `settings`. Returns None if there is no such file."""
    return import_module(f"{FOLDER.name}.{name}") if (FOLDER / f"{name}.py").is_file() else None


def own_settings(from_environment: set[str]) -> dict[str, Any]:
    """Return what the folder's `settings.py` sets.

    Raises `ImproperlyConfigured` for a setting that the environment sets, as other settings are derived from those.
    """
    module = load("settings")
    found = {name: value for name, value in vars(module).items() if name.isupper()} if module else {}
    for name in found:
        if name in from_environment:
            raise ImproperlyConfigured(f"{name} is in {FOLDER.name}/settings.py; set it in the environment or in .env")
    return found


def join(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Add `theirs` to `ours` in place: lists are extended, dicts are merged, and anything else is replaced."""
    for name, value in theirs.items():
        present = ours.get(name)
        if isinstance(present, list | dict) and not isinstance(value, type(present)):
            raise ImproperlyConfigured(f"{FOLDER.name}/settings.py: {name} must be a {type(present).__name__}")
        if isinstance(present, list):
            present.extend(value)
        elif isinstance(present, dict):
            join(present, value)
        else:
            ours[name] = value


def create(name: str, folder: Path = FOLDER) -> None:
    """Make the folder for a site of this name. Raises `FileExistsError` if it is there already."""
    folder.mkdir()
    for source in TEMPLATE.rglob("*-tpl"):
        target = folder / str(source.relative_to(TEMPLATE)).removesuffix("-tpl")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text().replace("{{ name }}", json.dumps(name, ensure_ascii=False)))


if __name__ == "__main__":
    try:
        create(sys.argv[1])
    except FileExistsError:
        sys.exit(f"guildhall: this site has its folder already: {FOLDER.name}")
