"""`python -m tests.folders KIND`: print what `./run check` checks, with the apps of the site beside ours.

KIND is `typed`, the folders and files for mypy, or `templates`, the folders for djlint.
"""

import os
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import django
from django.apps import apps

from config.mysite import FOLDER

ROOT = Path(__file__).resolve().parent.parent


def site_apps(paths: Iterable[str], root: Path = ROOT) -> list[Path]:
    """Return the folders of the apps below `root`, relative to it, without those in a virtual environment."""
    inside = [Path(path).relative_to(root) for path in paths if Path(path).is_relative_to(root)]
    return sorted(
        folder for folder in inside if not folder.parts[0].startswith(".") and "site-packages" not in folder.parts
    )


def typed(folders: list[Path], root: Path = ROOT) -> list[str]:
    """Return what pyproject.toml lists, and the apps that this doesn't cover."""
    listed = [Path(name) for name in tomllib.loads((root / "pyproject.toml").read_text())["tool"]["mypy"]["files"]]
    # The whole folder of the site, with its settings and URLs.
    listed += [Path(FOLDER.name)] if (root / FOLDER.name).is_dir() else []
    others = [folder for folder in folders if not any(folder.is_relative_to(each) for each in listed)]
    return [str(path) for path in (*listed, *others)]


def templates(folders: list[Path], root: Path = ROOT) -> list[str]:
    own = [folder / "templates" for folder in (Path(FOLDER.name), *folders)]
    return ["templates", *(str(folder) for folder in own if (root / folder).is_dir())]


def main(kind: str) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    folders = site_apps(app.path for app in apps.get_app_configs())
    print(*{"typed": typed, "templates": templates}[kind](folders))


if __name__ == "__main__":
    main(sys.argv[1])
