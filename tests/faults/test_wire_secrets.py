# SPDX-License-Identifier: Apache-2.0
"""Credentials of an address: not on the command line, on the wire as given, in no message."""

import json

import pytest

from image_grounding.errors import EndpointError, SpecError
from image_grounding.spec import load_spec
from support.scripts import run_script
from support.wire import BACKENDS, CALLS, Received, Wire, answer, ask_once, good

SECRET = "my-own-secret-0123456789"
GIVEN = ("results_dir=x", "data.input_jsonl=x", "vlm.openai.model_name=m")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "url",
    [
        f"https://me:{SECRET}@h/v1", f"https://{SECRET}@h/v1", f"http://me:{SECRET}@[h",
        f"https://h/v1?key={SECRET}", f"https://h/v1?a=b&subscription-key={SECRET}#x",
        f"https://${{oc.env:IG_USER}}@h/v1?sig={SECRET}",
    ],
)  # fmt: skip
def test_it_is_refused_on_the_command_line(url: str, backend: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec(None, [*GIVEN, f"vlm.backend={backend}", f"vlm.{backend}.base_url={url}"])
    sentence = str(caught.value)
    assert "a key on the command line can be read by every user" in sentence
    assert f"vlm.{backend}.base_url='${{oc.env:NAME}}'" in sentence
    assert SECRET not in sentence


def test_it_is_refused_as_a_flag() -> None:
    ran = run_script("check_endpoint.py", "--base-url", f"http://me:{SECRET}@h/v1", "--model", "m")
    assert ran.code == 2
    assert "can be read by every user" in ran.err + ran.out
    assert SECRET not in ran.err + ran.out


def test_it_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IG_KEY", SECRET)
    for url in ("http://me:${oc.env:IG_KEY}@h/v1", "http://h/a@b?key=${oc.env:IG_KEY}"):
        load_spec(None, [*GIVEN, "vlm.backend=openai", f"vlm.openai.base_url='{url}'"])
    url = "http://h/a@b?api-version=2&key="
    load_spec(None, [*GIVEN, "vlm.backend=openai", f"vlm.openai.base_url={url}"])


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_password_reaches_its_host_and_no_message(backend: str, call: str) -> None:
    def echo(request: Received) -> bytes:
        return answer(f"who is {SECRET}?", status=400) if "Basic" in request.head else good(request)

    with Wire(echo) as wire, pytest.raises(EndpointError, match=r"who is \(key\)\?") as caught:
        ask_once(backend, wire.url.replace("//", f"//someone:{SECRET}@"), call)
    assert SECRET not in str(caught.value) + caught.value.server_text


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_key_in_the_query_is_sent_with_every_call(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(request: Received) -> bytes:
        return answer({"error": f"bad key {SECRET}"}, status=401)

    with Wire(refuse) as wire:
        monkeypatch.setenv("TEST_URL", f"{wire.url}/v1?key={SECRET}")
        url = f"vlm.{backend}.base_url=${{oc.env:TEST_URL}}"
        arguments = ("--backend", backend, "--model", "m", url)
        ran = run_script("check_endpoint.py", *arguments, GOOGLE_API_KEY="another-key")
    assert ran.code == 4
    asked = [request.head for request in wire.received if "health" not in request.head]
    assert {"GET", "POST"} == {head.partition(" ")[0] for head in asked}
    assert all(f"?key={SECRET}" in head or f"&key={SECRET}" in head for head in asked)
    assert "bad key (key)" in json.loads(ran.out)["error"]
    assert SECRET not in ran.out + ran.err
