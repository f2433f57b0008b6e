# SPDX-License-Identifier: Apache-2.0
"""A redirect is followed nowhere: what it points to sees no key, no prompt and no picture."""

import json

import pytest

from image_grounding.errors import UnusableEndpointError
from support.scripts import run_script
from support.wire import BACKENDS, CALLS, KEY, Received, Wire, answer, ask_once

REDIRECTS = (301, 302, 303, 307, 308)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("status", REDIRECTS)
def test_a_redirect_is_not_followed(status: int, backend: str, call: str) -> None:
    with Wire() as elsewhere:
        location = f"http://me:password@127.0.0.1:{elsewhere.port}/v1/{KEY}?key={KEY}#x"

        def redirect(request: Received) -> bytes:
            return answer(status=status, location=location)

        with Wire(redirect) as wire, pytest.raises(UnusableEndpointError) as caught:
            ask_once(backend, wire.url, call)
        assert len(wire.received) == 1
        assert elsewhere.received == []
        said = f"{caught.value} {caught.value.remedy}"
        assert f"HTTP {status}" in said
        assert f"http://127.0.0.1:{elsewhere.port}/v1/(key)" in said
        assert KEY not in said and "password" not in said
        assert caught.value.status == status


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("headers", "shown"),
    [({}, "to no address"), ({"location": "/else?key=abc"}, "to /else")],
)
def test_wherever_a_redirect_points(headers: dict[str, str], shown: str, backend: str) -> None:
    with Wire(lambda request: answer(status=302, **headers)) as wire:
        with pytest.raises(UnusableEndpointError, match=shown) as caught:
            ask_once(backend, wire.url)
        assert "abc" not in str(caught.value)
        assert len(wire.received) == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_check_follows_no_redirect(backend: str) -> None:
    """Nor do the paths that say whether a server is ready."""
    with Wire() as elsewhere, Wire() as wire:
        wire.respond = lambda request: answer(status=307, location=elsewhere.url + "/there")
        ran = run_script(
            "check_endpoint.py",
            *("--backend", backend, "--model", "m", "--api-key-env", "TEST_KEY"),
            f"vlm.{backend}.base_url={wire.url}",
            TEST_KEY=KEY,
        )
        assert ran.code == 4, ran.err
        assert f"{elsewhere.url}/there" in json.loads(ran.out)["error"]
        assert any("POST" in request.head for request in wire.received)
        assert elsewhere.received == []
