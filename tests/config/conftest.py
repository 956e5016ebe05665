"""A separate Redis server for the tests that need a real one."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError

from bench.sites import free_port
from tests.conftest import REQUIRED

REDIS = shutil.which("redis-server")
needs_redis = [
    pytest.mark.redis,
    pytest.mark.skipif(REDIS is None and "redis" not in REQUIRED, reason="there is no redis-server on the PATH"),
]


@dataclass
class RedisServer:
    process: "subprocess.Popen[bytes]"
    url: str

    def keys(self) -> list[Any]:
        with Redis.from_url(self.url) as client:
            return list(client.keys("*"))  # type: ignore[arg-type]  # only its async twin is awaited

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    assert REDIS, "GUILDHALL_REQUIRE names redis, and there is no redis-server on the PATH"
    port = free_port()
    with subprocess.Popen(
        [REDIS, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
    ) as process:
        server = RedisServer(process, f"redis://127.0.0.1:{port}/0")
        try:
            await_redis(server)
            yield server
        finally:
            server.signal(signal.SIGCONT) if process.poll() is None else None
            process.kill()


def await_redis(server: RedisServer) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            server.keys()
            return
        except RedisError:
            assert time.monotonic() < end, "redis-server did not come up"
            time.sleep(0.02)  # a real process takes real time
