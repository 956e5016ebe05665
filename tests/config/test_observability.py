"""Exceptions and traces are sent only if the environment says so, and without secrets or people."""

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from config.observability import scrubbed

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[2]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"

# A site whose page fails with secrets at hand. They are in the environment, as reports quote source code.
SITE = """
import io, os, requests, sys
import config.settings
# Without collected files, the error page would fail too.
config.settings.STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
import django; django.setup()
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
import config.urls
from config.wsgi import application

SECRETS = os.environ["SECRETS_OF_THE_VISITOR"].split()

@csrf_exempt
def fail(request, **parts):
    local = request.META["HTTP_AUTHORIZATION"], request.POST
    requests.post(os.environ["DISCORD"], data=b"x")
    raise ValueError(f"{SECRETS[0]}\\nDETAIL: Key (name)=({SECRETS[1]})")

config.urls.urlpatterns.append(path("fail/<str:what>/", fail))
body = f"field={SECRETS[2]}".encode()
environ = {
    "REQUEST_METHOD": "POST", "PATH_INFO": f"/fail/{SECRETS[3]}/", "QUERY_STRING": f"code={SECRETS[4]}",
    "SERVER_NAME": "localhost", "SERVER_PORT": "80", "REMOTE_ADDR": SECRETS[5], "wsgi.url_scheme": "http",
    "CONTENT_TYPE": "application/x-www-form-urlencoded", "CONTENT_LENGTH": str(len(body)),
    "HTTP_HOST": "localhost", "HTTP_COOKIE": f"a={SECRETS[6]}", "HTTP_AUTHORIZATION": f"Bearer {SECRETS[7]}",
    "HTTP_TRACEPARENT": os.environ["PARENT"], "wsgi.input": io.BytesIO(body), "wsgi.errors": sys.stderr,
}
print(b"".join(application(environ, lambda status, headers, *_: print(status, dict(headers)["X-Request-ID"])))[:0])
if "sentry_sdk" in sys.modules:
    import sentry_sdk
    sentry_sdk.flush(10)
if "OTEL_EXPORTER_OTLP_ENDPOINT" in os.environ:
    from opentelemetry import trace
    trace.get_tracer_provider().force_flush()
"""
SECRETS = (
    *("access_token=firstlinesecret", "detailsecret", "bodysecret", "pathsecret"),
    *("querysecret", "203.0.113.77", "cookiesecret", "headersecret"),
)
IN_A_TRACE = {"traceparent", "tracestate", "baggage", "sentry-trace"}


@dataclass
class Receiver:
    """An endpoint that keeps what is sent to it, by path, and which headers requests to Discord had."""

    url: str = ""
    to_discord: list[set[str]] = field(default_factory=list)
    got: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def discord(self) -> str:
        """The same endpoint by another name: Sentry's SDK changes no requests to its own host."""
        return f"http://{self.url.replace('127.0.0.1', 'localhost')}/discord"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    kept = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            is_packed = self.headers.get("Content-Encoding") == "gzip"
            if self.path == "/discord":
                kept.to_discord.append({name.lower() for name in self.headers})
            else:
                kept.got.append((self.path, gzip.decompress(body) if is_packed else body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        kept.url = f"127.0.0.1:{server.server_port}"
        yield kept
        server.shutdown()
        thread.join()


def run(code: str, **more: str) -> subprocess.CompletedProcess[str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "SENTRY_"))}
    known |= {"DJANGO_SETTINGS_MODULE": "config.settings", "DATABASE_URL": "sqlite://:memory:", **more}
    known |= {"SECRETS_OF_THE_VISITOR": " ".join(SECRETS), "PARENT": f"00-{TRACE}-00f067aa0ba902b7-01"}
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=known, capture_output=True, text=True, timeout=90)


def test_an_exception_is_reported_with_its_stack_and_route_alone(receiver: Receiver) -> None:
    done = run(SITE, SENTRY_DSN=f"http://key@{receiver.url}/1", DISCORD=receiver.discord)

    assert done.stdout.startswith("500"), done.stderr
    [(path, envelope)] = receiver.got
    report = json.loads(envelope.splitlines()[2])
    [found] = report["exception"]["values"]
    assert path == "/api/1/envelope/"
    assert report["transaction"] == "/fail/{what}/"
    assert report["tags"] == {"request_id": done.stdout.split("\n")[0].split()[-1], "trace_id": TRACE}
    assert (found["type"], found["value"]) == ("ValueError", "access_token=[hidden]")
    assert found["stacktrace"]["frames"][-1]["function"] == "fail"
    assert [names & IN_A_TRACE for names in receiver.to_discord] == [set()]
    assert [secret for secret in SECRETS if secret.removeprefix("access_token=").encode() in envelope] == []


def test_a_request_is_a_span_with_its_route_alone(receiver: Receiver) -> None:
    url = f"http://{receiver.url}"
    done = run(SITE, OTEL_EXPORTER_OTLP_ENDPOINT=url, LOG_FORMAT="json", DISCORD=receiver.discord)

    assert done.stdout.startswith("500"), done.stderr
    [(path, sent)] = receiver.got
    [line] = [json.loads(line) for line in done.stderr.splitlines() if '"event": "request"' in line]
    assert path == "/v1/traces"
    assert b"POST fail/<str:what>/" in sent
    assert b"guildhall" in sent
    # The span is the one that the log names, in the caller's trace.
    assert line["trace_id"] == TRACE
    assert bytes.fromhex(TRACE) in sent
    assert bytes.fromhex(line["span_id"]) in sent
    assert [names & IN_A_TRACE for names in receiver.to_discord] == [set()]
    assert [secret for secret in SECRETS if secret.encode() in sent] == []


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_without_its_variable_neither_is_loaded(more: dict[str, str]) -> None:
    # Nor Redis, whose client imports OpenTelemetry if it finds it.
    names = ("sentry_sdk", "opentelemetry.exporter", "opentelemetry.sdk", "redis")
    loaded = f"print([name for name in {names} if name in sys.modules])"

    done = run(f"import sys, config.wsgi, config.urls; {loaded}", REDIS_URL="", **more)

    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("package", "more", "said"),
    [
        ("sentry_sdk", {"SENTRY_DSN": "http://key@127.0.0.1/1"}, "SENTRY_DSN is set, but sentry-sdk is missing"),
        (
            "opentelemetry",
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1"},
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is missing",
        ),
    ],
)
def test_a_missing_package_stops_the_start_in_one_line(package: str, more: dict[str, str], said: str) -> None:
    done = run(f"import sys; sys.modules[{package!r}] = None; import manage; manage.main('check')", **more)

    assert done.returncode == 1
    assert done.stderr == f"guildhall: {said}; install it with ./run install observability\n"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"SENTRY_DSN": "http://thekey@127.0.0.1/"}, "SENTRY_DSN is invalid: it is not the DSN of a Sentry project"),
        (
            {"OTEL_TRACES_EXPORTER": "zipkin", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1"},
            "OTEL_TRACES_EXPORTER is invalid: it must be otlp or none",
        ),
    ],
)
def test_a_wrong_value_stops_the_start_without_quoting_it(more: dict[str, str], said: str) -> None:
    done = run("import manage; manage.main('check')", **more)

    assert done.stderr == f"guildhall: {said}\n"


def test_what_a_report_may_not_have_is_dropped() -> None:
    report: dict[str, Any] = {
        **dict.fromkeys(("user", "server_name", "extra", "breadcrumbs", "request", "contexts", "modules"), "x"),
        "exception": {"values": [{"type": "E", "value": "v", "stacktrace": {"frames": [{"vars": {"a": "x"}}]}}]},
    }

    assert scrubbed(report, {}) == {
        "tags": {},
        "exception": {"values": [{"type": "E", "value": "v", "stacktrace": {"frames": [{}]}}]},
    }
