# SPDX-License-Identifier: Apache-2.0
"""From what servers answer to our errors, without secrets."""

import email.utils
import ssl
import time
from itertools import pairwise
from typing import Any

import pytest

from image_grounding.asking.endpoints.errors import (
    MAX_MESSAGE,
    error_text,
    network_error,
    no_connection,
    retry_after_seconds,
    safe_address,
    scrub,
    status_error,
)
from image_grounding.errors import (
    EndpointError,
    KeyRefusedError,
    RateLimitedError,
    RejectedRequestError,
    ServerFaultError,
    UnknownModelError,
    UnusableEndpointError,
)

STATUSES: list[tuple[int, str, type[EndpointError]]] = [
    (401, "Unauthorized", KeyRefusedError),
    (403, "You have no access", KeyRefusedError),
    (400, "API key not valid. Please pass a valid API key.", KeyRefusedError),
    (400, "API key expired. Please renew the API key.", KeyRefusedError),
    (404, "The model `x` does not exist.", UnknownModelError),
    (404, "No endpoints found that support image input", RejectedRequestError),
    (
        500,
        "image input is not supported - hint: you may need to provide the mmproj",
        RejectedRequestError,
    ),
    (404, "", UnknownModelError),
    (400, "model 'x' not found", UnknownModelError),
    (400, "Unknown model: x", UnknownModelError),
    (400, "The image was not found in the request", RejectedRequestError),
    (400, "This model's maximum context length is 4096 tokens", RejectedRequestError),
    (400, "", RejectedRequestError),
    (405, "Method Not Allowed", RejectedRequestError),
    (402, "Payment Required", UnusableEndpointError),
    (409, "Conflict", ServerFaultError),
    (425, "Too Early", ServerFaultError),
    (413, "Payload Too Large", RejectedRequestError),
    (422, "Unprocessable", RejectedRequestError),
    (429, "slow down", RateLimitedError),
    (408, "Request Timeout", ServerFaultError),
    (500, "Internal Server Error", ServerFaultError),
    (502, "<html>Bad Gateway</html>", ServerFaultError),
    (503, "model_loading", ServerFaultError),
    (529, "overloaded", ServerFaultError),
]


@pytest.mark.parametrize(("status", "message", "kind"), STATUSES)
def test_statuses(status: int, message: str, kind: type[EndpointError]) -> None:
    error = status_error(status, message)
    assert type(error) is kind
    assert error.status == status
    assert f"HTTP {status}" in str(error)
    assert message in str(error)
    assert not str(error).endswith(": )")


@pytest.mark.parametrize("status", [429, 503, 408])
def test_the_pause_that_a_server_asks_for_is_kept(status: int) -> None:
    error = status_error(status, "busy", {"retry-after": "12"})
    assert isinstance(error, RateLimitedError | ServerFaultError)
    assert error.retry_after == 12


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0), (" 7 ", 7.0), ("0", 0.0), ("1.5", 1.5), ("", None), ("soon", None),
        ("-3", None), ("1e9", None), ("nan", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 99 Foo 2015", None),
    ],
)  # fmt: skip
def test_retry_after(header: str, seconds: float | None) -> None:
    assert retry_after_seconds({"retry-after": header}) == seconds


def test_retry_after_as_a_date_to_come() -> None:
    date = email.utils.formatdate(time.time() + 1000, usegmt=True)
    seconds = retry_after_seconds({"retry-after": date})
    assert seconds is not None and 900 < seconds <= 1000
    assert retry_after_seconds(None) is None
    assert retry_after_seconds({"retry-after": "Fri, 31 Dec 99999 23:59:59 GMT"}) is None
    assert retry_after_seconds({}) is None


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"error": {"message": "no such model", "type": "x", "code": 404}}, "no such model"),
        ({"error": "Unauthorized"}, "Unauthorized"),
        ({"detail": "bad request"}, "bad request"),
        ({"detail": [{"loc": ["body"], "message": "field required"}]}, "field required"),
        ({"message": "busy"}, "busy"),
        ([{"error": {"message": "in a list"}}], "in a list"),
        ({"error": {"code": 500}}, "{'code': 500}"),
        ({"error": None, "message": "second"}, "second"),
        ("Internal Server Error", "Internal Server Error"),
        (None, ""),
        ("", ""),
        ([], "[]"),
    ],
)
def test_messages_of_all_shapes(body: Any, text: str) -> None:
    assert error_text(body) == text


def test_a_body_of_any_depth_has_a_message() -> None:
    body: Any = "deep"
    for _ in range(5000):
        body = {"error": body}
    assert isinstance(error_text(body), str)


SECRET = "my-own-secret"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"bad key {SECRET}.", "bad key (key)."),
        (f"{SECRET}{SECRET}", "(key)(key)"),
        ("key sk-abcdefgh12345678 is wrong", "key (key) is wrong"),
        ("nvapi-ABCDEFGH_ijk-lmnop", "(key)"),
        ("AIzaSyA1234567890abc", "(key)"),
        ("hf_abcdefghijklmnop", "(key)"),
        ("Authorization: Bearer abc.def-ghi/jkl+m", "Authorization: (key)"),
        ("authorization: bearer ABCDEFGHIJ", "authorization: (key)"),
        ("two\n  lines\t", "two lines"),
        ("task-force and asking", "task-force and asking"),
        ("", ""),
    ],
)
def test_scrub(text: str, clean: str) -> None:
    assert scrub(text, SECRET) == clean


def test_scrub_keeps_it_short_and_ignores_tiny_secrets() -> None:
    assert len(scrub("x " * 1000)) <= MAX_MESSAGE
    assert scrub("the EMPTY key", "", "key") == "the EMPTY key"
    cut = scrub("x" * (MAX_MESSAGE - 5) + SECRET, SECRET)
    assert SECRET[:5] not in cut


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://host:8000/v1", "http://host:8000/v1"),
        ("https://me:secret@host/v1", "https://host/v1"),
        ("https://me:se@cret@host/v1", "https://host/v1"),
        ("https://host/v1?key=secret#x", "https://host/v1"),
        ("me:secret@host", "host"),
        ("http://host?mail=me@here", "http://host"),
        ("", ""),
    ],
)
def test_addresses_show_no_secret(url: str, shown: str) -> None:
    assert safe_address(url) == shown


def chained(*errors: BaseException) -> BaseException:
    for outer, inner in pairwise(errors):
        outer.__cause__ = inner
    return errors[0]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "nothing listens"),
        (chained(RuntimeError("x"), OSError("x"), ConnectionRefusedError()), "nothing listens"),
        (chained(RuntimeError("x"), ssl.SSLCertVerificationError("bad")), "TLS"),
        (RuntimeError("CERTIFICATE_VERIFY_FAILED"), "TLS"),
        (OSError(-2, "Name or service not known"), "no such host"),
        (RuntimeError("getaddrinfo failed"), "no such host"),
        (ConnectionResetError("reset by peer"), "dropped"),
        (ExceptionGroup("many", [ConnectionRefusedError()]), "nothing listens"),
        (RuntimeError(""), "dropped"),
    ],
)  # fmt: skip
def test_failed_connections_in_plain_words(error: BaseException, words: str) -> None:
    message = str(network_error(error, "http://host/v1"))
    assert message.startswith("cannot reach http://host/v1: ")
    assert words in message


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (OSError("getaddrinfo failed"), "can resolve it"),
        (ConnectionRefusedError(), "has been started"),
        (ssl.SSLError("wrong version number"), "write http:// where"),
        (ConnectionResetError(), "the server's log"),
    ],
)
def test_every_failed_connection_has_its_own_remedy(cause: OSError, words: str) -> None:
    assert words in network_error(cause, "http://host/v1").remedy
    assert "firewall" in no_connection("http://host/v1", 5).remedy


def test_causes_in_a_circle_end() -> None:
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__cause__, second.__cause__ = second, first
    assert "dropped" in str(network_error(first, "x"))


@pytest.mark.parametrize(
    ("address", "hosted"),
    [
        ("https://generativelanguage.googleapis.com", True),
        ("https://integrate.api.nvidia.com/v1", True),
        ("http://gpu-box:8000/v1", False),
    ],
)
def test_a_provider_s_server_is_not_the_user_s_to_start(address: str, hosted: bool) -> None:
    error = network_error(ConnectionRefusedError(), address)
    assert ("internet" in error.remedy) == hosted
    assert ("has been started" in error.remedy) != hosted
