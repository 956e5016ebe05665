"""`./run dev`: reloads code and templates, shows debug pages, stops at `breakpoint()`, and only serves this machine."""

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from django.utils.autoreload import StatReloader

from bench.sites import free_port
from config import reloading

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[2]
# Seconds in which a change must be visible on a busy machine.
DEADLINE = 60.0
BARE = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "ENV_FILE": os.devnull}
PAGE = """from django.shortcuts import render


def page(request):
    {line}
    return render(request, "probe.html", {{"said": said}})
"""


MODEL = """from django.db import models


class Probe(models.Model):
    pass
"""
DEBUGGED = """said = "stopped" if "stop" in request.GET else "ready"
    if "stop" in request.GET:
        breakpoint()"""


@dataclass
class Development:
    """A copy of the project that runs in development, with one page that a test may edit."""

    folder: Path
    port: int = field(default_factory=free_port)
    sandbox_port: int = field(default_factory=free_port)
    output: str = ""
    written: int = 0
    process: "subprocess.Popen[str] | None" = None
    reader: threading.Thread = field(init=False, repr=False)

    def start(self) -> None:
        self.process = subprocess.Popen(
            ["./run", "dev"],
            cwd=self.folder,
            env={
                **BARE,
                "VAR_DIR": str(self.folder / "var"),
                "PORT": str(self.port),
                "SANDBOX_PORT": str(self.sandbox_port),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=0,
            start_new_session=True,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process
        assert self.process.stdout
        while character := self.process.stdout.read(1):
            self.output += character

    def write(self, line: str) -> None:
        self.written += 1
        # Python knows a changed file by its size, or by the second in which it was written.
        (self.folder / "probe" / "views.py").write_text(PAGE.format(line=line) + "\n" * self.written)

    def misname(self) -> None:
        views = self.folder / "probe" / "views.py"
        views.write_text(
            "from guilds.decorators import guild_required\n\n\n"
            '@guild_required("manage_server")\ndef page(request, guild_id): ...\n'
        )

    def add_model(self) -> None:
        # The reloader watches the files of modules that are loaded, and this one is new.
        (self.folder / "probe" / "models.py").write_text(MODEL)
        self.write('said = "three"')

    def template(self, text: str) -> None:
        (self.folder / "templates" / "probe.html").write_text(text)

    def get(self, query: str = "") -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/probe/{query}", timeout=DEADLINE) as response:
                return str(response.read().decode())
        except urllib.error.HTTPError as error:
            return f"{error.code} {error.read().decode()}"
        except OSError:
            return ""

    def until(self, is_true: Callable[[], object], change: Callable[[], object] = lambda: None) -> None:
        """Make a change and wait until it is visible.

        The change is repeated until the server reloads: it answers before its reloader has seen the files once, and
        only later changes are noticed.
        """
        end = time.monotonic() + DEADLINE
        while True:
            reloads = self.reloads()
            change()
            again = time.monotonic() + 2.0
            while time.monotonic() < again or self.reloads() > reloads:
                if is_true():
                    return
                assert self.process
                assert self.process.poll() is None, self.output
                assert time.monotonic() < end, self.output[-3000:]
                time.sleep(0.1)

    def reloads(self) -> int:
        return self.output.count("changed, reloading")

    def stop(self) -> int:
        assert self.process
        self.process.terminate()
        return self.process.wait(DEADLINE)

    def close(self) -> None:
        assert self.process
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        self.reader.join(10)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe
            pipe.close()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project with the app `probe`, whose page is /probe/."""
    # Compiled files are copied too, since each reload would compile the whole project again.
    left_out = shutil.ignore_patterns(".*", "images", "node_modules", "var", "bench", "docs", "tests")
    copy = Path(shutil.copytree(ROOT, tmp_path / "project", ignore=left_out))
    (copy / ".venv").symlink_to((ROOT / ".venv").resolve())
    (copy / "probe").mkdir()
    (copy / "probe" / "__init__.py").touch()
    settings, urls = copy / "config" / "settings.py", copy / "config" / "urls.py"
    settings.write_text(settings.read_text().replace('    "accounts",\n', '    "accounts",\n    "probe",\n', 1))
    urls.write_text(f'{urls.read_text()}\nfrom probe.views import page\n\nurlpatterns += [path("probe/", page)]\n')
    return copy


@pytest.fixture
def development(project: Path) -> Iterator[Development]:
    development = Development(project)
    development.write('said = "one"')
    development.template("{{ said }}")
    development.start()
    yield development
    development.close()


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.thorough
def test_each_change_is_loaded_and_a_breakpoint_stops_in_the_terminal(development: Development) -> None:
    development.until(lambda: development.get() == "one")
    development.until(lambda: development.get() == "said one", lambda: development.template("said {{ said }}"))
    development.until(lambda: development.get() == "said two", lambda: development.write('said = "two"'))
    # A mistake is explained on the page, and the next change is loaded as usual.
    development.until(lambda: "undefined_name" in development.get(), lambda: development.write("said = undefined_name"))
    assert "Traceback" in development.get()
    # So is the one that corrects a mistake which another module found.
    development.until(lambda: "did you mean 'manage_guild'?" in development.output, development.misname)
    development.until(lambda: development.get() == "said two", lambda: development.write('said = "two"'))
    development.until(
        lambda: "without a migration in probe; run ./run manage makemigrations probe" in development.output,
        development.add_model,
    )
    development.until(lambda: development.get() == "said ready", lambda: development.write(DEBUGGED))
    answers: list[str] = []
    ask = threading.Thread(target=lambda: answers.append(development.get("?stop")))
    ask.start()
    development.until(lambda: "(Pdb)" in development.output)
    assert development.process
    assert development.process.stdin
    development.process.stdin.write("p 6 * 7\ncontinue\n")
    ask.join(DEADLINE)

    assert answers == ["said stopped"]
    development.until(lambda: "(Pdb) 42" in development.output)
    assert development.stop() == 0
    assert is_free(development.port)
    assert is_free(development.sandbox_port)


def test_it_watches_modules_that_could_not_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reloading, "ROOT", tmp_path)
    unused = ("mysite/welcome/tests/test_welcome.py", ".venv/lib/views.py", "venv/lib/views.py", "var/a.py")
    for name in ("mysite/welcome/views.py", "venv/pyvenv.cfg", *unused):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    reloader = StatReloader()

    reloading.watch_failed_modules(reloader)

    assert reloader.extra_files == {tmp_path / "mysite/welcome/views.py"}


@pytest.mark.parametrize(
    ("name", "environment"),
    [
        ("SITE_URL", {"SITE_URL": "https://servers.example.org"}),
        ("SITE_URL", {"SITE_URL": "https://localhost"}),
        ("SITE_URL", {"SITE_URL": "http://servers.example.org"}),
        ("HOST", {"HOST": "0.0.0.0"}),
        ("HOST", {"HOST": "::"}),
    ],
)
def test_it_only_serves_this_machine(name: str, environment: dict[str, str], tmp_path: Path) -> None:
    result = subprocess.run(
        ["./run", "dev"],
        cwd=ROOT,
        env={**BARE, "VAR_DIR": str(tmp_path), "SANDBOX": "1", **environment},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )

    assert result.returncode == 1
    assert f"guildhall: {name} is " in result.stderr
    assert "./run dev" in result.stderr
    assert not list(tmp_path.glob("*.sqlite3"))
