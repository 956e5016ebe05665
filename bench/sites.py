"""The site and other programs as real processes that can be killed, frozen and restarted."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTED = ROOT / "ops" / "nginx.conf"
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or "nginx"
# Seconds. Starting several workers at once takes long on a busy machine.
START_TIMEOUT = 180.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Program:
    """A process in its own process group, so that a signal reaches its children too.

    It gets no other environment than `environment`; its output is appended to `log`. `project` is where its code is.
    `within` is a command that starts others, such as in a network of their own.
    """

    environment: Mapping[str, str]
    log: Path
    project: Path = field(default=ROOT, kw_only=True)
    within: tuple[str, ...] = field(default=(), kw_only=True)
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False, kw_only=True)

    @property
    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        """Start the process without waiting until it is up."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*self.within, *self.command],
                cwd=self.project,
                env={**self.environment, "PATH": os.environ["PATH"]},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def logged(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def children(self) -> list[int]:
        """Return the ids of the process's own children."""
        assert self.process, "it was not started"
        try:
            return [
                int(pid)
                for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            ]
        except FileNotFoundError:
            return []  # it has ended

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

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop the process with SIGTERM or another signal, and kill it if that takes too long."""
        if not self.process or self.process.poll() is not None:
            return
        self._signal(signal.SIGCONT)
        self.process.send_signal(number)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()


@dataclass
class Site(Program):
    """One machine of the site: gunicorn with its workers."""

    threads: int = 16
    # None leaves the number to the settings.
    workers: int | None = 1
    application: str = "config.wsgi:application"
    address: str = "127.0.0.1"
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.port}"

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "config.supervisor", "--config", "file:config/server.py", self.application]

    def start(self) -> None:
        self.environment = {
            "SITE_URL": self.url,
            **self.environment,
            "HOST": self.address,
            "PORT": str(self.port),
            **({"WEB_WORKERS": str(self.workers)} if self.workers else {}),
            "WEB_THREADS": str(self.threads),
        }
        super().start()

    def reload(self) -> None:
        """Let gunicorn replace its workers, as `./run reload` does."""
        assert self.process, "it was not started"
        self.process.send_signal(signal.SIGHUP)

    def wait_until_up(self) -> None:
        end = time.monotonic() + START_TIMEOUT
        while time.monotonic() < end and self.process and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.url}/healthz", timeout=5).close()
            except urllib.error.HTTPError:
                return  # it responds, if only with an error
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError(f"the site on {self.url} did not come up:\n{self.logged()[-2000:]}")


def start_all(sites: Sequence[Site]) -> None:
    for site in sites:
        site.start()
    for site in sites:
        site.wait_until_up()


def stop_all(sites: Sequence[Site]) -> None:
    with ThreadPoolExecutor(max(len(sites), 1)) as pool:
        list(pool.map(Site.stop, sites))


@contextmanager
def nginx(machines: Sequence[Site], door: Site, folder: Path) -> Iterator[None]:
    """Run the documented nginx in front of `machines`, over plain HTTP, at the address of `door`."""
    upstream = "\n".join(f"server {machine.address}:{machine.port} max_fails=0;" for machine in machines)
    server = (
        DOCUMENTED.read_text()
        .replace("listen 443 ssl", f"listen {door.address}:{door.port}")
        .replace("server 127.0.0.1:8000 max_fails=0;", upstream)
    )
    server = re.sub(r"(?m)^ *(ssl_certificate.*|proxy_set_header X-Forwarded-Proto.*)$", "", server)
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; worker_rlimit_nofile 8192;"
        f"events {{ worker_connections 4096; }} http {{ access_log off; {server} }}"
    )
    with subprocess.Popen([*door.within, NGINX, "-c", configuration], start_new_session=True) as process:
        try:
            yield
        finally:
            process.terminate()
