"""No secret reaches a log line, whatever field or sentence it comes in."""

import pytest
from django.test import RequestFactory

from config.logging import HIDDEN, redact


@pytest.mark.parametrize(
    "name", ["token", "access_token", "refresh_token", "client_secret", "Authorization", "cookie", "password", "code"]
)
def test_a_field_named_like_a_secret_is_hidden(name: str) -> None:
    assert redact(None, "info", {"event": "x", name: "abc123"})[name] == HIDDEN


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer mfa.VkO_2G4Qv3T-secret",
        "GET /complete/discord/?code=VkO2G4Qv3T&state=VkO2G4Qv3T",
        '{"access_token": "VkO2G4Qv3T"}',
        "refresh_token=VkO2G4Qv3T",
        "somebody pasted gdh_VkO2G4Qv3T into an address",
    ],
)
def test_a_secret_inside_a_sentence_is_hidden(text: str) -> None:
    line = redact(None, "info", {"event": "x", "detail": text})["detail"]

    assert "VkO" not in line
    assert HIDDEN in line


def test_what_is_no_secret_stays() -> None:
    line = {"event": "request", "path": "/servers/", "status": 200, "code": 50035, "reason": "rate_limited"}

    assert redact(None, "info", dict(line)) == line


def test_a_request_is_told_without_its_query() -> None:
    request = RequestFactory().get("/complete/discord/?code=abcdef123&state=xyz789")

    assert redact(None, "info", {"event": "x", "request": request})["request"] == "GET /complete/discord/"


def test_a_secret_inside_a_value_is_hidden() -> None:
    answers = [{"access_token": "abcdef123", "left": {"rate_limited": 2}}, "token=abc", OSError("code=VkO2G4Qv3T")]

    line = redact(None, "info", {"event": "x", "answers": answers})

    assert line["answers"][0] == {"access_token": HIDDEN, "left": {"rate_limited": 2}}
    assert line["answers"][2] == f"code={HIDDEN}"
