"""nginx and Caddy as we provide them, each started with two machines behind it of which any may be away."""

import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench.sites import free_port
from tests.conftest import REQUIRED

pytestmark = pytest.mark.thorough

OPS = Path(__file__).parents[2] / "ops"
# Debian keeps nginx out of the PATH of everyone but root.
PROGRAMS = {name: shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") for name in ("nginx", "caddy")}


class Machine(BaseHTTPRequestHandler):
    """Answers with the headers it got."""

    def do_GET(self) -> None:
        body = json.dumps(dict(self.headers)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def machine(port: int) -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", port), Machine) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            yield
        finally:
            server.shutdown()


def write_certificate(folder: Path) -> None:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "your.site")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    certificate = builder.sign(key, hashes.SHA256())
    (folder / "your.site.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "your.site.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


@dataclass
class Proxy:
    port: int
    machines: tuple[int, int]

    def get(self, path: str = "/", body: bytes = b"", **headers: str) -> tuple[int, dict[str, str]]:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPConnection("your.site", self.port)
        connection.sock = context.wrap_socket(
            socket.create_connection(("127.0.0.1", self.port), timeout=10), server_hostname="your.site"
        )
        connection.request("GET", path, body, {"Host": f"your.site:{self.port}", **headers})
        response = connection.getresponse()
        text = response.read()
        connection.close()
        return response.status, json.loads(text) if response.status == 200 else {}


def replaced(file: str, *replacements: tuple[str, str]) -> str:
    """Return our file, except for what it says to replace: the certificate, the machines and the port."""
    text = (OPS / file).read_text()
    for ours, here in replacements:
        assert ours in text
        text = text.replace(ours, here)
    return text


def nginx_command(proxy: Proxy, folder: Path) -> list[str]:
    text = replaced(
        "nginx.conf",
        ("listen 443 ssl", f"listen 127.0.0.1:{proxy.port} ssl"),
        ("/etc/ssl", str(folder)),
        ("server 127.0.0.1:8000", f"server 127.0.0.1:{proxy.machines[0]}"),
        ("# server 10.0.0.8:8000", f"server 127.0.0.1:{proxy.machines[1]}"),
    )
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/log; events {{}}"
        f"http {{ access_log off; {temporary} {text} }}"
    )
    command = ["-c", str(configuration), "-e", f"{folder}/log"]
    subprocess.run([str(PROGRAMS["nginx"]), *command, "-t"], check=True, capture_output=True)
    return command


def caddy_command(proxy: Proxy, folder: Path) -> list[str]:
    text = replaced(
        "Caddyfile",
        ("{\n\tservers", "{\n\tadmin off\n\tauto_https off\n\tservers"),
        ("your.site {", f"https://your.site:{proxy.port} {{\n\ttls {folder}/your.site.crt {folder}/your.site.key\n"),
        ("127.0.0.1:8000", f"127.0.0.1:{proxy.machines[0]}"),
        ("# to 10.0.0.8:8000", f"to 127.0.0.1:{proxy.machines[1]}"),
    )
    configuration = folder / "Caddyfile"
    configuration.write_text(text)
    return ["run", "--config", str(configuration)]


COMMANDS = {"nginx": nginx_command, "caddy": caddy_command}


@pytest.fixture(params=COMMANDS)
def proxy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Proxy]:
    program = PROGRAMS[request.param]
    if not program and request.param not in REQUIRED:
        pytest.skip(f"there is no {request.param}")
    assert program, f"GUILDHALL_REQUIRE names {request.param}, and there is none on the PATH"
    write_certificate(tmp_path)
    found = Proxy(free_port(), (free_port(), free_port()))
    command = COMMANDS[request.param](found, tmp_path)
    with subprocess.Popen(
        [program, *command], env={**os.environ, "HOME": str(tmp_path)}, stderr=subprocess.DEVNULL
    ) as process:
        try:
            until_it_answers(found.get, process)
            yield found
        finally:
            process.terminate()


def until_it_answers(get: Callable[[], object], process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + 10
    while process.poll() is None and time.monotonic() < end:
        try:
            get()
            return
        except OSError:
            time.sleep(0.01)  # a real process takes real time
    raise AssertionError("the proxy did not come up")


def test_a_port_stays_in_the_host_and_a_visitors_own_headers_do_not(proxy: Proxy) -> None:
    forged = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "gopher"}
    with machine(proxy.machines[0]):
        status, headers = proxy.get(**forged)

    assert status == 200
    assert headers["Host"] == f"your.site:{proxy.port}"
    assert headers["X-Forwarded-Proto"] == "https"
    assert headers["X-Forwarded-For"] == "127.0.0.1"


def test_the_metrics_end_at_the_proxy(proxy: Proxy) -> None:
    with machine(proxy.machines[0]):
        assert proxy.get("/metrics")[0] == 404


@pytest.mark.parametrize("proxy", ["nginx"], indirect=True)
def test_large_bodies_end_at_nginx(proxy: Proxy) -> None:
    with machine(proxy.machines[0]):
        assert proxy.get(body=bytes(65 * 1024))[0] == 413


def test_a_rolling_restart_refuses_nobody(proxy: Proxy) -> None:
    first, second = proxy.machines

    def served() -> list[int]:
        return [proxy.get()[0] for _ in range(6)]

    with machine(first):
        one_away = served()
    with machine(second):
        # At once: the machine that was away a moment ago is asked again.
        other_away = served()

    assert set(one_away + other_away) == {200}
