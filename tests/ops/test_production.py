"""The steps of docs/production.md lead from empty machines to a site, each machine being a network namespace.

Each has files of its own where the page writes. Scripts take the places of apt-get, scp and systemctl.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from bench.soak_machines import PATH, Host, Missing, network, until
from sandbox.calls import APPLICATION_ID
from sandbox.remote import Remote, running

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "production.md").read_text()
SITE = "servers.example.org"
TOOLS = (
    "git",
    "initdb",
    "ip",
    "nginx",
    "openssl",
    "pg_ctl",
    "psql",
    "redis-cli",
    "redis-server",
    "runuser",
    "unshare",
    "useradd",
)
DEBIAN = ("/etc/nginx/nginx.conf", "/etc/redis/redis.conf")

pytestmark = pytest.mark.thorough

SCRIPTS = {
    # Makes an environment with the packages of this one.
    "python3": """
        [ "${1:-} ${2:-}" = "-m venv" ] || exec PYTHON "$@"
        PYTHON -m venv --without-pip "$3"
        echo /srv/packages > "$(echo "$3"/lib/python3*/site-packages)/packages.pth"
    """,
    # The packages are there; Debian starts their services.
    "apt-get": """
        [ "$1" = install ] || exit 0
        for package; do [ ! -e /etc/systemd/system/$package.service ] || systemctl restart $package; done
    """,
    # The machines' folders stand beside each other.
    "scp": """
        cp "MACHINES/${1%%:*}${1#*:}" "$2"
    """,
    # Does what the units say: the commands, the account and the folder.
    "systemctl": """
        units=/etc/systemd/system
        of_unit() {
          local files=("$units/$unit.service")
          [[ $unit != guildhall-* ]] || files+=("$units"/guildhall-.service.d/*.conf)
          sed -n "s/^$1=//p" "${files[@]}"
        }
        run() {
          local user folder
          user=$(of_unit User) folder=$(of_unit WorkingDirectory)
          cd "${folder:-/}"
          exec runuser -u "${user:-root}" -- env -i "PATH=$PATH" $(of_unit Environment) $(of_unit "$1")
        }
        verb=$1
        shift
        [ "$verb" != enable ] || [ "$1" = --now ]
        for unit; do
          case $verb,$unit in
          enable,--now) ;;
          enable,*.timer) grep -q '^OnCalendar=' "$units/${unit%%@*}@.timer" ;;
          reload,*) (run ExecReload) ;;
          restart,* | enable,*)
            if [ -n "$(of_unit ExecStop)" ] && [ -e "/run/$unit.started" ]; then (run ExecStop); fi
            touch "/run/$unit.started"
            if [ "$(of_unit Type)" = forking ]; then (run ExecStart) >"/run/$unit.log" 2>&1
            else (run ExecStart) >"/run/$unit.log" 2>&1 </dev/null & fi ;;
          *) exit 64 ;;
          esac
        done
    """,
}
# What Debian's packages bring, as short as this systemctl needs it.
UNITS = {
    "postgresql": "User=postgres\nType=forking\nExecStart=pg_ctl --wait --silent -D /srv/postgresql start\n"
    "ExecStop=pg_ctl --wait --silent -D /srv/postgresql --mode=fast stop\n",
    "redis-server": "Type=forking\nExecStart=redis-server /etc/redis/redis.conf --daemonize yes\n"
    "ExecStop=redis-cli shutdown nosave\n",
    "nginx": "Type=forking\nExecStart=nginx\nExecReload=nginx -s reload\n",
}
# What the machines have before the first step, besides Debian.
DATABASE = """
install -d -o postgres /srv/postgresql && cd /
runuser -u postgres -- initdb --no-sync --auth-local=peer --auth-host=reject -D /srv/postgresql
"""
CERTIFICATE = f"""
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN={SITE} \\
  -addext subjectAltName=DNS:{SITE} -out /etc/ssl/{SITE}.crt -keyout /etc/ssl/{SITE}.key
"""
REPOSITORY = """
git config --system safe.directory /srv/repository/.git
cd /srv/repository && git init --quiet && git add --all
git -c user.name=Ada -c user.email=ada@example.org commit --quiet --message=Release
"""
SITES = ("10.0.0.7", "10.0.0.8")
OWN = ("etc", "run", "srv", "var/lib/nginx", "var/lib/redis", "var/log")


@dataclass
class Machine:
    """A machine with folders of its own in `folder`, which is named by its address."""

    host: Host
    folder: Path
    mounts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for place in OWN:
            (self.folder / place).mkdir(parents=True)
        shutil.rmtree(self.folder / "etc")
        subprocess.run(["cp", "-a", "/etc", self.folder / "etc"], check=True)
        for place in ("run/redis", "run/postgresql", "srv/bin", "srv/packages", "var/log/nginx", "var/log/redis"):
            (self.folder / place).mkdir()
        shutil.chown(self.folder / "run/postgresql", "postgres")
        for name, script in SCRIPTS.items():
            text = script.replace("PYTHON", f"{sys.base_prefix}/bin/python3").replace(
                "MACHINES", str(self.folder.parent)
            )
            file = self.folder / "srv" / "bin" / name
            file.write_text(f"#!/bin/bash\nset -euo pipefail\n{textwrap.dedent(text)}")
            file.chmod(0o755)
        units = self.folder / "etc" / "systemd" / "system"
        units.mkdir(parents=True, exist_ok=True)
        for name, unit in UNITS.items():
            (units / f"{name}.service").unlink(missing_ok=True)
            (units / f"{name}.service").write_text(unit)
        self._mount(sysconfig.get_path("purelib"), "srv/packages")
        if Path("/root") in Path(sys.base_prefix).parents:
            # The site's account can't see what is there.
            self._mount(sys.base_prefix, sys.base_prefix.lstrip("/"))
            self.mounts.append(f"mount --rbind '{self.folder}/root' /root")
        self.mounts += [f"mount --rbind '{self.folder}/{place}' /{place}" for place in OWN]

    def _mount(self, what: str, place: str) -> None:
        (self.folder / place).mkdir(parents=True, exist_ok=True)
        self.mounts.append(f"mount --bind '{what}' '{self.folder}/{place}'")

    def do(self, commands: str) -> str:
        """Run commands as root, which must succeed, and return what they print."""
        enter = "; ".join([*self.mounts, 'cd /root; exec bash -euo pipefail -c "$0"'])
        ran = subprocess.run(
            [*self.host.within, "unshare", "--mount", "bash", "-euc", enter, commands],
            env={"PATH": f"/srv/bin:/usr/sbin:/sbin:{PATH}", "HOME": "/root", "DJANGO_SUPERUSER_USERNAME": "operator"},
            stdin=subprocess.DEVNULL,
            # A file, because services keep their output open.
            stdout=(output := tempfile.TemporaryFile()),  # noqa: SIM115 - closed below
            stderr=subprocess.STDOUT,
            check=False,
        )
        with output:
            output.seek(0)
            printed = output.read().decode()
        assert ran.returncode == 0, f"{commands}\n{printed}\n{self.logs()}"
        return printed

    def logs(self) -> str:
        return "\n".join(f"{file.name}: {file.read_text()[-2000:]}" for file in (self.folder / "run").glob("*.log"))

    def processes(self) -> list[int]:
        found = subprocess.run(
            ["ip", "netns", "pids", self.host.within[-1]], capture_output=True, text=True, check=True
        )
        return [int(pid) for pid in found.stdout.split()]

    def stop(self) -> None:
        """End all of its processes."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self.processes():
                subprocess.run(["kill", f"-{number}", str(pid)], capture_output=True, check=False)
            try:
                until(lambda: not self.processes(), "the machine's processes did not end", 10)
            except RuntimeError:
                continue
            return

    def gunicorn(self) -> str:
        """The id of gunicorn's process, which stays the same when it reloads, though its file is away for a moment."""
        return (self.folder / "srv/guildhall/var/gunicorn-8000.pid").read_text().strip()


def children(process: str) -> set[str]:
    return set(Path(f"/proc/{process}/task/{process}/children").read_text().split())


def steps() -> Iterator[tuple[list[str], str]]:
    """The addresses of the machines at which each step has to be done, and its commands."""
    section = PAGE.partition("## From empty machines to a site\n")[2].partition("\n## ")[0]
    for step in re.split(r"^\d+\. ", section, flags=re.MULTILINE)[1:]:
        lead, _, rest = step.partition("   ```\n")
        if rest:
            where = re.findall(r"`(10\.0\.0\.\d+)`", re.split(r"[.:]\s", lead)[0])
            yield where, textwrap.dedent(f"   {rest.partition('   ```')[0].lstrip()}")


def upgrade() -> str:
    [commands] = re.findall(
        r"^```\n(.*?)^```$", PAGE.partition("\n## Upgrades\n")[2].partition("\n## ")[0], re.M | re.S
    )
    return str(commands)


@dataclass
class Place:
    """The page's machines by the addresses that they have there, and what the reader replaces."""

    machines: dict[str, Machine]
    replaced: dict[str, str]
    sandbox: Remote

    def follow(self, address: str, commands: str) -> str:
        for ours, here in self.replaced.items():
            commands = commands.replace(ours, here)
        assert not re.search(r"10\.0\.0\.|[A-Z]-[A-Z]", commands), f"the page doesn't say what to replace:\n{commands}"
        return self.machines[address].do(commands)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    missing = [name for name in TOOLS if not shutil.which(name, path=PATH)]
    missing += [name for name in DEBIAN if not Path(name).exists()]
    if os.getuid() != 0 or missing:
        pytest.skip(f"needs {', '.join(missing or ['root'])}")
    with ExitStack() as stack:
        try:
            net = stack.enter_context(network(namespaces=True))
            hosts = {address: net.host() for address in dict.fromkeys(re.findall(r"10\.0\.0\.[1-9]\b", PAGE))}
        except Missing as error:
            pytest.skip(str(error))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="guildhall-production-")))
        # PostgreSQL's and the site's accounts have to reach their folders.
        folder.chmod(0o711)
        machines = {}
        for address, host in hosts.items():
            machines[address] = machine = Machine(host, folder / host.address)
            stack.callback(machine.stop)
        machines["10.0.0.3"].do(DATABASE)
        machines["10.0.0.2"].do(CERTIFICATE)
        for address in SITES:
            copy_project(machines[address].folder / "srv" / "repository")
            machines[address].do(REPOSITORY)
        discord = stack.enter_context(running(tmp_path / "sandbox.json", net.address))
        discord.application(redirect_uris=[f"https://{SITE}/complete/discord/", f"https://{SITE}/servers/bot-added/"])
        addresses = {address: host.address for address, host in hosts.items()}
        yield Place(
            machines,
            {
                "10.0.0.0/24": net.subnet,
                **addresses,
                "DATABASE-PASSWORD": "b0a1",
                "REDIS-PASSWORD": "c2d3",
                "CLIENT-ID": APPLICATION_ID,
                "CLIENT-SECRET": "sandbox",
                "BOT-TOKEN": f"sandbox-bot\nDISCORD_API_URL={discord.url}/api/v10\nDISCORD_CDN_URL={discord.url}/cdn\n"
                f"DISCORD_AUTHORIZE_URL={discord.url}/oauth2/authorize",
                "URL-OF-YOUR-REPOSITORY": "/srv/repository",
                "createsuperuser": "createsuperuser --no-input",
            },
            discord,
        )


def copy_project(folder: Path) -> None:
    left_out = shutil.ignore_patterns(
        ".git", ".venv", ".*_cache", ".env", "__pycache__", "node_modules", "var", "mysite"
    )
    shutil.copytree(ROOT, folder, ignore=left_out)


@pytest.fixture
def visitor(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[requests.Session]:
    """A browser that finds the site at nginx, and trusts its certificate."""
    nginx = place.machines["10.0.0.2"]
    find = socket.getaddrinfo

    def found(host: str, *arguments: object, **options: object) -> object:
        return find(nginx.host.address if host == SITE else host, *arguments, **options)  # type: ignore[arg-type] # as it came

    monkeypatch.setattr(socket, "getaddrinfo", found)
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(nginx.folder / f"etc/ssl/{SITE}.crt")
        yield session


def sign_in(visitor: requests.Session, name: str) -> requests.Response:
    """Sign in as a person does, up to the final page."""
    visitor.get(f"https://{SITE}/sign-in/", timeout=30)
    form = {"csrfmiddlewaretoken": visitor.cookies["__Host-guildhall_csrf"]}
    headers = {"Referer": f"https://{SITE}/sign-in/"}
    way = visitor.post(f"https://{SITE}/login/discord/", form, headers=headers, timeout=30, allow_redirects=False)
    back = visitor.get(f"{way.headers['Location']}&as={name}", timeout=30, allow_redirects=False)
    return visitor.get(back.headers["Location"], headers={"Accept": "text/html"}, timeout=30)


def test_the_page_leads_from_empty_machines_to_a_site(place: Place, visitor: requests.Session) -> None:
    for addresses, commands in steps():
        for address in addresses:
            place.follow(address, commands)
    first, second = (place.machines[address] for address in SITES)
    for machine in (first, second):
        until(partial(answers, machine), f"the site on {machine.host.address} did not start")

    assert visitor.get(f"http://{SITE}/servers/", timeout=30, allow_redirects=False).headers["Location"] == (
        f"https://{SITE}/servers/"
    )
    page = sign_in(visitor, "ada")
    assert (page.status_code, page.url) == (200, f"https://{SITE}/servers/")
    servers = read(f"https://{SITE}", visitor)
    assert len(servers) > 1
    cookie = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
    by_proxy = {"Host": SITE, "X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.7", "Cookie": cookie}
    for machine in (first, second):
        assert read(f"http://{machine.host.address}:8000", requests, headers=by_proxy) == servers
    assert len(place.sandbox.requests(person="ada")) == 1

    gunicorn = first.gunicorn()
    before = children(gunicorn)
    place.follow(SITES[0], upgrade())

    def replaced() -> bool:
        assert read(f"https://{SITE}", visitor) == servers
        return before.isdisjoint(children(gunicorn))

    until(replaced, "the workers were not replaced")
    assert read(f"http://{first.host.address}:8000", requests, headers=by_proxy) == servers


def answers(machine: Machine) -> bool:
    try:
        return requests.get(f"http://{machine.host.address}:8000/healthz", timeout=30).status_code == 200
    except requests.ConnectionError:
        return False


def read(site: str, client: Any, **options: Any) -> list[Any]:
    """The person's servers, by the site's API."""
    response = client.get(f"{site}/api/v1/guilds/", timeout=30, **options)
    assert response.status_code == 200, response.text
    found: list[Any] = response.json()["guilds"]
    return found
