"""The site as real processes, each with its own web server, that can be killed, frozen and restarted."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Seconds. Starting several workers at once takes long on a busy machine.
START_TIMEOUT = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Site:
    """One process of the site: gunicorn with its workers, in its own process group, so that a signal reaches both.

    It gets no other environment than `environment`; its output is appended to `log`. `project` is where its code is.
    """

    environment: Mapping[str, str]
    log: Path
    threads: int = 16
    # None leaves the number to the settings.
    workers: int | None = 1
    application: str = "config.wsgi:application"
    port: int = field(default_factory=free_port)
    project: Path = ROOT
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the process without waiting until it is up."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "config.supervisor", "--config", "file:config/server.py", self.application],
                cwd=self.project,
                env={
                    "SITE_URL": self.url,
                    **self.environment,
                    "PATH": os.environ["PATH"],
                    "HOST": "127.0.0.1",
                    "PORT": str(self.port),
                    **({"WEB_WORKERS": str(self.workers)} if self.workers else {}),
                    "WEB_THREADS": str(self.threads),
                },
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def wait_until_up(self) -> None:
        end = time.monotonic() + START_TIMEOUT
        while time.monotonic() < end and self.process and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.url}/sign-in/", timeout=5).close()
            except urllib.error.HTTPError:
                return  # it responds, if only with an error
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError(f"the site on {self.url} did not come up:\n{self.logged()[-2000:]}")

    def logged(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _signal(self, number: signal.Signals) -> None:
        assert self.process, "it was not started"
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """Send SIGKILL, so that the process can't release or write anything."""
        self._signal(signal.SIGKILL)
        assert self.process
        self.process.wait(10)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """Stop the process with SIGTERM, and kill it if that takes too long."""
        if not self.process or self.process.poll() is not None:
            return
        self._signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()


def start_all(sites: Sequence[Site]) -> None:
    for site in sites:
        site.start()
    for site in sites:
        site.wait_until_up()
