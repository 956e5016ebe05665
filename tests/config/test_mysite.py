"""What the site's own folder, `mysite`, holds joins the project, and no file of the project changes."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import migrations, models
from django.db.migrations.writer import MigrationWriter

from config import mysite
from guilds.snowflakes import SnowflakeField

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[2]
YOUR_SITE = (ROOT / "docs" / "your-site.md").read_text()
PARTS = ("accounts", "config", "guilds", "locale", "sandbox", "static", "templates")

FILES = {
    "settings.py": """
SITE_NAME = "Chess club"
INSTALLED_APPS = ["mysite.polls"]
MIDDLEWARE = ["mysite.polls.views.named"]
CONTENT_SECURITY_POLICY = {"DIRECTIVES": {"img-src": ["https://pictures.example"], "frame-src": ["https://video.example"]}}
""",
    "urls.py": """
from django.urls import path

from mysite.polls import views

urlpatterns = [path("polls/", views.polls)]
""",
    "api_urls.py": """
from django.urls import path

from mysite.polls import views

urlpatterns = [path("polls/", views.polls)]
""",
    "polls/__init__.py": "",
    "polls/views.py": """
from django.http import HttpResponse
from django.utils.translation import gettext


def polls(request):
    return HttpResponse("Polls are open.")


def named(get_response):
    def middleware(request):
        response = get_response(request)
        response["X-Site"] = "chess"
        return response

    return middleware
""",
    "templates/home.html": '{% extends "base.html" %}{% block content %}Play chess with us.{% endblock %}',
    "static/polls.svg": "<svg/>",
}

VISIT = """
from django.contrib.staticfiles.finders import find
from django.test import Client
visitor = Client(SERVER_NAME="localhost")
home = visitor.get("/")
print(home.content.decode(), home["Content-Security-Policy"], home.get("X-Site"), find("polls.svg"))
print(visitor.get("/admin/login/").content.decode())
print(*(visitor.get(path).content.decode() for path in ("/polls/", "/api/polls/", "/api/docs/")), sep="|")
"""

HOOKS = "from config import settings; print(settings.GUILDHALL_MEMBERSHIP_HOOKS, settings.GUILDHALL_SIGN_IN_HOOKS)"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for part in PARTS:
        shutil.copytree(ROOT / part, tmp_path / part)
    for file in ("manage.py", "pyproject.toml"):
        shutil.copy(ROOT / file, tmp_path)
    mysite.create("A club", tmp_path / "mysite")
    return tmp_path


def manage(project: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    keys = {"SECRET_KEY": "s", "TOKEN_KEYS": os.environ["TOKEN_KEYS"], "DATABASE_URL": "sqlite://:memory:"}
    bare = {"PATH": os.environ["PATH"], "ENV_FILE": os.devnull, "VAR_DIR": str(project / "var"), **keys}
    (project / "var" / "static").mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=project,
        env=bare | {"DEBUG": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_what_the_folder_holds_joins_the_project(project: Path) -> None:
    for name, text in FILES.items():
        (project / "mysite" / name).parent.mkdir(exist_ok=True)
        (project / "mysite" / name).write_text(text)

    visits = {on: manage(project, "shell", "-c", VISIT, MYSITE=on) for on in ("1", "0")}
    with_folder, without = visits["1"].stdout, visits["0"].stdout

    assert [visit.returncode for visit in visits.values()] == [0, 0], visits["1"].stderr + visits["0"].stderr

    for sign in (
        "· Chess club",
        "Chess club is not made or endorsed by Discord.",
        "Play chess with us.",
        'href="/static/mysite.css"',
        "https://pictures.example",
        "frame-src https://video.example",
        "Polls are open.|Polls are open.|",
        str(project / "mysite" / "static" / "polls.svg"),
    ):
        assert sign in with_folder
    admin = with_folder[with_folder.index('href="/static/admin.css"') :]
    assert 'href="/static/mysite.css"' in admin[: admin.index("</head>")]
    assert [sign for sign in ("Chess club", "mysite", "Polls are open.") if sign in without] == []


def test_a_new_folder_changes_only_the_name(project: Path) -> None:
    checks = "from django.core.management import call_command; call_command('check', fail_level='WARNING')"
    name = "from django.conf import settings; print(settings.SITE_NAME)"

    done = manage(project, "shell", "-c", f"{checks}; {name}")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "A club"


def test_a_folder_is_never_overwritten(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        mysite.create("Another", tmp_path)


def test_lists_are_extended_dicts_merged_and_other_values_replaced() -> None:
    shared = ["ours"]
    ours = {"APPS": shared, "POLICY": {"img": ["self"], "base": "none"}, "NAME": "Guildhall"}

    mysite.join(ours, {"APPS": ["theirs"], "POLICY": {"img": ["cdn"], "frame": ["video"]}, "NAME": "Club", "NEW": [1]})

    assert ours == {
        "APPS": ["ours", "theirs"],
        "POLICY": {"img": ["self", "cdn"], "base": "none", "frame": ["video"]},
        "NAME": "Club",
        "NEW": [1],
    }
    assert ours["APPS"] is shared


def test_a_value_of_another_type_is_named() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"mysite/settings.py: INSTALLED_APPS must be a list"):
        mysite.join({"INSTALLED_APPS": []}, {"INSTALLED_APPS": "polls"})


def test_the_documented_settings_join_those_of_the_project(project: Path) -> None:
    [example] = re.findall(r"^```python\n(from environs .*?)^```$", YOUR_SITE, re.MULTILINE | re.DOTALL)
    (project / "mysite" / "settings.py").write_text(
        f'{example}GUILDHALL_SIGN_IN_HOOKS = ["mysite.welcome.hooks.thank"]\n'
    )

    said = subprocess.run(
        [sys.executable, "-c", HOOKS],
        cwd=project,
        env={"PATH": os.environ["PATH"], "ENV_FILE": os.devnull, "GUILDHALL_MEMBERSHIP_HOOKS": "operators.hook"},
        capture_output=True,
        text=True,
    )

    assert said.stdout == "['operators.hook', 'mysite.welcome.hooks.greet'] ['mysite.welcome.hooks.thank']\n", (
        said.stderr
    )


def test_a_setting_of_the_environment_is_not_set_in_two_places(project: Path) -> None:
    (project / "mysite" / "settings.py").write_text('SITE_URL = "https://chess.example"\n')

    said = manage(project, "check").stderr

    assert said == "guildhall: SITE_URL is in mysite/settings.py; set it in the environment or in .env\n"


@pytest.mark.parametrize(
    ("mistake", "words"),
    [("SITE_NAME =", "SyntaxError"), ('SITE_URL = "https://chess.example"', "guildhall: SITE_URL is in")],
)
def test_the_development_server_outlives_a_mistake_in_the_settings(mistake: str, words: str, project: Path) -> None:
    settings = project / "mysite" / "settings.py"
    settings.write_text(f"{mistake}\n")

    # As Django's reloader starts it, which restarts it after status 3.
    with subprocess.Popen(
        [sys.executable, "manage.py", "check"],
        cwd=project,
        env={"PATH": os.environ["PATH"], "ENV_FILE": os.devnull, "RUN_MAIN": "true"},
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stderr
        try:
            assert any(words in line for line in iter(server.stderr.readline, ""))
            assert server.poll() is None
            settings.write_text('SITE_NAME = "Chess club"\n')
            assert server.wait(30) == 3
        finally:
            server.kill()


def test_a_generated_migration_passes_the_linter() -> None:
    class Migration(migrations.Migration):
        operations: ClassVar = [
            migrations.CreateModel(
                "Vote",
                [
                    ("guild_id", SnowflakeField(primary_key=True)),
                    ("voter", models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)),
                ],
            )
        ]

    written = MigrationWriter(Migration("0001_initial", "votes")).as_string()
    assert "import guilds.snowflakes" in written

    result = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--stdin-filename", "mysite/votes/migrations/0001_initial.py", "-"],
        input=written,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert result.returncode == 0, result.stdout
