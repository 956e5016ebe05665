"""The machines of a soak: three with the site, one for jobs, PostgreSQL, Redis, and nginx in front of them.

Each has a network namespace of its own, on a bridge whose other end is the bench's, or all share the loopback address.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from glob import glob
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

from bench.sites import ROOT, START_TIMEOUT, Program, Site, free_port, nginx

MACHINES, WORKERS, THREADS, CHILDREN = 3, 2, 16, 2
PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin", *glob("/usr/lib/postgresql/*/bin")])
LOOPBACK = "127.0.0.1"


class Missing(Exception):
    """Something that the bench needs is not on this machine; the message says what."""


def program(name: str) -> str:
    found = shutil.which(name, path=PATH)
    if not found:
        raise Missing(f"there is no {name} on the PATH")
    return found


@dataclass(frozen=True, slots=True)
class Host:
    """A place for programs, with the command that starts them there and the device of its link, if it has one."""

    address: str = LOOPBACK
    within: tuple[str, ...] = ()
    device: str = ""

    def link(self, state: str) -> None:
        """Take the host's link "down", or "up" again."""
        _ip("link", "set", "dev", self.device, state)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


@dataclass
class Network:
    """Makes hosts. With `number`, each is a network namespace, in the subnet of that number."""

    number: int | None
    hosts: list[Host] = field(default_factory=list)

    @property
    def address(self) -> str:
        """The bench's own address."""
        return LOOPBACK if self.number is None else f"10.213.{self.number % 250}.254"

    @property
    def subnet(self) -> str:
        return f"{self.address.rpartition('.')[0]}.0/24" if self.number is not None else f"{LOOPBACK}/32"

    def host(self) -> Host:
        if self.number is None:
            return Host()
        count = len(self.hosts) + 1
        name, device = f"soak-{self.number}-{count}", f"gh{self.number}-{count}"
        address = f"{self.subnet.removesuffix('0/24')}{count}"
        within = (program("ip"), "netns", "exec", name)
        self.hosts.append(Host(address, within, device))
        _ip("netns", "add", name)
        _ip("link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("link", "set", "dev", device, "master", f"gh{self.number}", "up")
        for arguments in (
            ("link", "set", "dev", "lo", "up"),
            ("address", "add", f"{address}/24", "dev", "eth0"),
            ("link", "set", "dev", "eth0", "up"),
        ):
            _ip("-netns", name, *arguments)
        return self.hosts[-1]


@contextmanager
def network(namespaces: bool) -> Iterator[Network]:
    if not namespaces:
        yield Network(None)
        return
    if os.getuid() != 0 or not shutil.which("ip", path=PATH):
        raise Missing("--namespaces needs root and iproute2")
    found = Network(os.getpid())
    bridge = f"gh{found.number}"
    try:
        _ip("link", "add", bridge, "type", "bridge")
        _ip("address", "add", f"{found.address}/24", "dev", bridge)
        _ip("link", "set", "dev", bridge, "up")
        yield found
    finally:
        for host in found.hosts:
            subprocess.run(["ip", "link", "del", host.device], capture_output=True, check=False)
            subprocess.run(["ip", "netns", "del", host.within[-1]], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", bridge], capture_output=True, check=False)


@dataclass
class Command(Program):
    """Any program."""

    arguments: list[str] = field(default_factory=list)

    @property
    def command(self) -> list[str]:
        return self.arguments


def until(condition: Callable[[], object], what: str, seconds: float = START_TIMEOUT) -> None:
    """Wait until the condition holds; raises RuntimeError with `what` if it takes too long."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"{what} within {seconds:.0f} s")
        time.sleep(0.1)


@dataclass
class PostgreSQL:
    """A cluster in `folder`, reachable at `host` from the network, and by a socket in the folder from this process."""

    host: Host
    folder: Path
    subnet: str
    port: int = field(default_factory=free_port)
    # PostgreSQL doesn't run as root.
    account: str = field(default_factory=lambda: "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name)

    def __post_init__(self) -> None:
        data = self.folder / "data"
        self.folder.mkdir()
        as_account: tuple[str, ...] = ()
        if os.getuid() == 0:
            shutil.chown(self.folder, self.account)
            as_account = (program("setpriv"), f"--reuid={self.account}", f"--regid={self.account}", "--clear-groups")
        subprocess.run(
            [*as_account, program("initdb"), "--auth=trust", "--username=postgres", "--no-sync", "-D", str(data)],
            check=True,
            capture_output=True,
            cwd="/",
        )
        with (data / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {self.subnet} trust\n")
        options = {
            "listen_addresses": self.host.address,
            "unix_socket_directories": self.folder,
            "max_connections": 200,
        }
        self.server = Command(
            {},
            self.folder.parent / "postgresql.log",
            project=self.folder,
            within=(*self.host.within, *as_account),
            arguments=[
                *(program("postgres"), "-D", str(data), "-p", str(self.port)),
                *(part for name, value in options.items() for part in ("-c", f"{name}={value}")),
            ],
        )

    def url(self, host: str, name: str) -> str:
        return f"postgres://postgres@{host.replace('/', '%2F')}:{self.port}/{name}"

    @property
    def socket_url(self) -> str:
        return self.url(str(self.folder), "postgres")

    def run(self, statement: str) -> Any:
        """Return the first row's first value, or None. Raises psycopg.OperationalError if the server is away."""
        with psycopg.connect(self.socket_url, autocommit=True) as session:
            cursor = session.execute(statement)
            return (cursor.fetchone() or (None,))[0] if cursor.description else None

    def start(self) -> None:
        self.server.start()
        until(self._is_up, "PostgreSQL did not start")

    def _is_up(self) -> bool:
        try:
            return bool(self.run("SELECT 1"))
        except psycopg.OperationalError:
            return False

    def restart(self) -> None:
        """Restart as an operator does, without waiting for sessions to end."""
        self.server.stop(signal.SIGINT)
        self.start()

    def read_only(self, on: bool) -> None:
        """Refuse all writes, also of sessions that are open, as a standby does."""
        self.run(f"ALTER SYSTEM SET default_transaction_read_only = {'on' if on else 'off'}")
        self.run("SELECT pg_reload_conf()")


@dataclass
class Machines:
    """All machines; `door` is nginx. `worker` is None without Celery."""

    network: Network
    folder: Path
    database: PostgreSQL
    redis: Command
    redis_url: str
    door: Site
    sites: list[Site] = field(default_factory=list)
    hosts: list[Host] = field(default_factory=list)
    worker: Command | None = None

    @contextmanager
    def serving(self, name: str, static: Path, settings: dict[str, str]) -> Iterator[None]:
        """Run the site, its jobs and nginx with the database `name` and these settings."""
        environment = {
            **os.environ,
            **settings,
            "SANDBOX": "1",
            "SITE_URL": self.door.url,
            "DATABASE_URL": self.database.url(self.database.host.address, name),
            "REDIS_URL": self.redis_url,
        }

        def own(machine: str) -> dict[str, str]:
            var = self.folder / machine
            shutil.copytree(static, var / "static")
            return {**environment, "VAR_DIR": str(var), "PGAPPNAME": machine}

        with ExitStack() as stack:
            for number in range(MACHINES):
                host = self.network.host()
                site = Site(
                    own(f"machine-{number}"),
                    self.folder / f"machine-{number}.log",
                    within=host.within,
                    threads=THREADS,
                    workers=WORKERS,
                    address=host.address,
                )
                stack.callback(site.stop)
                self.hosts.append(host)
                self.sites.append(site)
                site.start()
            if find_spec("celery"):
                arguments = [sys.executable, "-m", "celery", "--app", "config.celery", "worker", "--beat"]
                self.worker = Command(
                    own("machine-jobs"),
                    self.folder / "machine-jobs.log",
                    project=ROOT,
                    within=self.network.host().within,
                    arguments=[*arguments, f"--concurrency={CHILDREN}", "--loglevel=WARNING"],
                )
                stack.callback(self.worker.stop)
                self.worker.start()
            for site in self.sites:
                site.wait_until_up()
            stack.enter_context(nginx(self.sites, self.door, self.folder))
            until(lambda: _answers(self.door), "nginx did not start")
            yield


def _answers(site: Site) -> bool:
    try:
        urllib.request.urlopen(f"{site.url}/healthz", timeout=5).close()
    except OSError:
        return False
    return True


@contextmanager
def machines(namespaces: bool) -> Iterator[Machines]:
    """Set up the network, PostgreSQL and Redis. Raises Missing."""
    for name in ("initdb", "postgres", "redis-server", "nginx"):
        program(name)
    with tempfile.TemporaryDirectory(prefix="guildhall-soak-") as name, ExitStack() as stack:
        folder = Path(name)
        # PostgreSQL's own account has to reach its folder.
        folder.chmod(0o711)
        net = stack.enter_context(network(namespaces))
        database = PostgreSQL(net.host(), folder / "postgresql", net.subnet)
        stack.callback(database.server.stop, signal.SIGINT)
        database.start()
        host, port = net.host(), free_port()
        options = ["--bind", host.address, "--port", str(port), "--save", "", "--protected-mode", "no"]
        arguments = [program("redis-server"), *options]
        redis = Command({}, folder / "redis.log", project=folder, within=host.within, arguments=arguments)
        stack.callback(redis.stop)
        redis.start()
        front = net.host()
        door = Site({}, folder / "nginx.log", within=front.within, address=front.address)
        yield Machines(net, folder, database, redis, f"redis://{host.address}:{port}/0", door)
