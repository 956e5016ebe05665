"""The site as real processes on one database, each a web server of its own, to be killed, stopped and restarted."""

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
# A worker imports Django; several at once on a busy machine take their time.
STARTS_WITHIN = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Site:
    """One process of the site: a granian with one worker, in a process group of its own, so that one signal gets both.

    `environment` is all that it knows; what it logs is appended to `log`.
    """

    environment: Mapping[str, str]
    log: Path
    threads: int = 16
    application: str = "config.wsgi:application"
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, without waiting until it answers."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    Path(sys.executable).with_name("granian"),
                    *("--interface", "wsgi", self.application, "--host", "127.0.0.1", "--port", str(self.port)),
                    *("--no-ws", "--workers", "1", "--workers-kill-timeout", "3", "--log-level", "error"),
                    # As `./run` does: backpressure counts connections, idle ones too.
                    *("--blocking-threads", str(self.threads), "--backpressure", "1024"),
                ],
                cwd=ROOT,
                env={**self.environment, "WEB_THREADS": str(self.threads), "PATH": os.environ["PATH"]},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def wait_until_up(self) -> None:
        end = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < end and self.process and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.url}/sign-in/", timeout=5).close()
            except urllib.error.HTTPError:
                return  # it answers, if only that it can't
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
        """`kill -9`: nothing of it can write, release or say goodbye."""
        self._signal(signal.SIGKILL)
        assert self.process
        self.process.wait(10)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """Stop it as an operator does; gone in the end, however it was left."""
        if not self.process or self.process.poll() is not None:
            return
        self._signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()


def start_all(sites: Sequence[Site]) -> None:
    for site in sites:
        site.start()
    for site in sites:
        site.wait_until_up()
