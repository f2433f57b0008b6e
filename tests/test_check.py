# SPDX-License-Identifier: Apache-2.0
"""The health checker: every cause has its own words, its own remedy, and exit 4."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from conftest import Project
from image_grounding.boxes.frames import CONVENTIONS
from image_grounding.health import CheckUp, check_up
from image_grounding.spec import load_spec
from support.loopback import Answer, Call, Loopback
from support.model import Model
from support.scripts import Ran, run_script
from support.vision import look

ALL = [
    "configuration", "name and port", "readiness", "key", "model", "text call", "image call",
    "structured output", "token limit", "box convention", "latency and tokens",
]  # fmt: skip


def check(server: Loopback, *more: str, model: str = "test-vlm", **environment: str) -> Ran:
    flags = ("--base-url", server.base_url, "--model", model)
    return run_script("check_endpoint.py", *flags, *more, **environment)


def looked(server: Loopback) -> CheckUp:
    """The same without a script around it, which is cheaper."""
    given = ["results_dir=.", "data.input_jsonl=none", "vlm.backend=openai"]
    given += [f"vlm.openai.base_url={server.base_url}", "vlm.openai.model_name=test-vlm"]
    return asyncio.run(check_up(load_spec(None, given)))


def statuses(ran: Ran) -> dict[str, str]:
    return {step["name"]: step["status"] for step in ran.json["steps"]}


@pytest.fixture
def loopback() -> Iterator[Callable[..., Loopback]]:
    running: list[Loopback] = []

    def start(**settings: Any) -> Loopback:
        server = Loopback(Model(**settings))
        running.append(server)
        return server.__enter__()

    yield start
    for server in running:
        server.__exit__()


def test_a_good_endpoint_passes_every_step(server: Loopback, tmp_path: Path) -> None:
    ran = check(
        server, "--samples", "2000", "--price-in", "1", "--price-out", "2",
        "--save-probe", str(tmp_path / "probes"),
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert list(statuses(ran)) == ALL
    assert set(statuses(ran).values()) <= {"ok", "skipped"} | {"warn"}
    report = ran.json
    assert report["usable"] is True
    assert report["conventions"]["norm1000_xyxy"] >= 0.97
    assert report["takes"] == {
        "temperature": True, "max_tokens": True, "token_limit": True, "schema": True,
    }  # fmt: skip
    estimate = report["estimate"]
    assert (estimate["samples"], estimate["requests"]) == (2000, 4000)
    assert (estimate["input_tokens"], estimate["output_tokens"]) == (400_000, 80_000)
    assert estimate["cost"] == pytest.approx(0.4 + 0.16)
    probes = sorted((tmp_path / "probes").glob("*.png"))
    assert len(probes) == 3
    assert all(Image.open(path).width > 300 for path in probes)
    assert "✓ box convention: norm1000_xyxy" in ran.err
    of = report["steps"][-1]["details"]["step_1"]
    assert (of["input_tokens"], of["output_tokens"]) == (100, 20)
    assert of["seconds"] > 0


def test_a_single_pass_takes_one_request_a_sample(server: Loopback) -> None:
    report = check(server, "--samples", "2000", "workflow.single_pass=true").json
    assert report["estimate"]["requests"] == 2000


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_convention_is_shown(convention: str, loopback: Callable[..., Loopback]) -> None:
    report = check(loopback(convention=convention)).json
    assert report["usable"]
    assert report["conventions"][convention] >= 0.97


def test_unknown_prices_are_null(server: Loopback) -> None:
    assert check(server, "--price-in", "1").json["estimate"]["cost"] is None


def to_images(status: int, message: str) -> dict[str, Any]:
    """The server's settings: so it answers to requests with an image."""
    return {"fault": lambda call: Answer(status, message) if call.image else None}


def thinks_of_colours(call: Call) -> Answer | None:
    return Answer(text="<think>red? ", finish="length") if COLOUR in call.prompt else None


COLOUR = "One plain colour fills"
NO_LIST = {"/v1/models": (404, b"{}")}
CAUSES: list[tuple[str, dict[str, Any], dict[str, Any], str, list[str]]] = [
    # name, the model's settings, the server's, the step that fails, words of message and remedy
    ("wrong key", {}, {"key": "right-key-123"}, "key", ["refused the key", "environment variable"]),
    ("unknown model", {}, {"names": ["Qwen3-VL-8B", "other"]}, "model",
     ["does not serve 'test-vlm'", "Qwen3-VL-8B"]),
    ("text only", {"blind": True}, {}, "image call", ["does not see images"]),
    ("no list, unknown model", {}, {"names": ["x"], "paths": NO_LIST}, "model",
     ["does not know the model 'test-vlm'", "does not list them"]),
    ("no list, wrong key", {}, {"key": "right-key-123", "paths": {"/v1/models": (403, b"{}")}},
     "key", ["refused the key"]),
    ("llama.cpp without eyes", {}, to_images(500, "you may need to provide the mmproj"),
     "image call", ["rejects a request with a plain image (HTTP 500", "--mmproj"]),
    ("OpenRouter, text only", {}, to_images(404, "No endpoints found that support image input"),
     "image call", ["rejects a request with a plain image (HTTP 404", "vision-language"]),
    ("rejected, but not without image", {}, to_images(400, "bad request"),
     "image call", ["rejects a request with a plain image", "vision-language"]),
    ("image over the context", {}, to_images(400, "maximum context length is 512 tokens"),
     "image call", ["rejected the request", "vlm.image.max_pixels"]),
    ("rejected anyhow", {}, {"fault": lambda call: Answer(400, "no project")}, "text call",
     ["no project", "the server's own words"]),
    ("thinks without end", {}, {"fault": thinks_of_colours}, "image call",
     ["spends its token limit", "max_tokens"]),
    ("cannot ground", {"nonsense": True}, {}, "box convention",
     ["cannot place boxes: best mean IoU"]),
    ("TAO loading", {}, {"paths": {"/api/v1/health/readiness": (
        503, b'{"error": {"type": "model_loading", "message": "soon"}}')}}, "readiness",
     ["still loading", "--wait"]),
    ("TAO loading, 202", {}, {"paths": {"/api/v1/health/readiness": (
        202, b'{"error": {"type": "server_initializing"}}')}}, "readiness", ["still loading"]),
    ("TAO broken", {}, {"paths": {"/api/v1/health/readiness": (
        503, b'{"error": {"type": "model_load_error", "message": "no weights"}}')}}, "readiness",
     ["could not be loaded", "no weights"]),
    ("NIM loading", {}, {"paths": {"/v1/health/ready": (503, b"")}}, "readiness",
     ["still loading"]),
    ("vLLM loading", {}, {"paths": {"/health": (503, b"")}}, "readiness", ["still loading"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("model", "settings", "step", "words"),
    [row[1:] for row in CAUSES],
    ids=[row[0] for row in CAUSES],
)
def test_every_cause_is_told_apart(
    model: dict[str, Any],
    settings: dict[str, Any],
    step: str,
    words: list[str],
    loopback: Callable[..., Loopback],
) -> None:
    server = loopback(**model)
    for name, value in settings.items():
        setattr(server, name, value)
    found = looked(server)
    last = found.steps[-1]
    assert not found.usable
    assert (last.name, last.status) == (step, "fail"), last
    said = f"{last.message} {last.remedy}"
    assert all(word in said for word in words), said


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://no-such-host.invalid/v1", "no such host"),
        ("http://127.0.0.1:{closed}/v1", "nothing listens"),
        ("https://127.0.0.1:{http}/v1", "TLS"),
    ],
)
def test_no_connection(url: str, words: str, server: Loopback) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = url.format(closed=closed.getsockname()[1], http=server.port)
        ran = run_script("check_endpoint.py", "--base-url", address, "--model", "m")
    assert ran.code == 4
    assert words in ran.json["error"]
    assert statuses(ran)["name and port"] == "fail"


def test_it_waits_for_a_server_that_is_loading(server: Loopback) -> None:
    server.paths["/health"] = (503, b"")

    def ready() -> None:
        server.paths["/health"] = (200, b"")

    timer = threading.Timer(0.5, ready)
    timer.start()
    ran = check(server, "--wait", "60")
    assert ran.code == 0, ran.err
    assert "waiting: the server is still loading" in ran.err


def test_an_address_without_v1_is_mended(server: Loopback) -> None:
    url = f"http://127.0.0.1:{server.port}"
    ran = run_script("check_endpoint.py", "--base-url", url, "--model", "test-vlm")
    assert ran.code == 4
    assert ran.json["remedy"] == f"use base_url {server.base_url}"


@pytest.mark.parametrize(
    ("status", "body"),
    [(403, b'{"error": "no"}'), (405, b""), (500, b"oops"), (501, b""), (200, b"<html>"),
     (200, b'{"data": {"a": 1}}'), (200, b"[]")],
)  # fmt: skip
def test_a_list_of_models_is_not_needed(status: int, body: bytes, server: Loopback) -> None:
    server.paths["/v1/models"] = (status, body)
    found = looked(server)
    assert found.usable, found
    assert "lists no models" in next(s for s in found.steps if s.name == "model").message


@pytest.mark.parametrize(
    "thought",
    [
        lambda colour: Answer(text=f"<think>Red or green? Not yellow.</think>\n**{colour}**"),
        lambda colour: Answer(text=f"The image is colored {colour}."),
        lambda colour: Answer(patch={"choices": [{"message": {
            "reasoning_content": "red, green, blue?", "content": colour}}]}),
    ],
    ids=["think block", "colored", "reasoning_content"],
)  # fmt: skip
def test_thoughts_are_no_answer(thought: Callable[[str], Answer], server: Loopback) -> None:
    def fault(call: Call) -> Answer | None:
        if COLOUR not in call.prompt or call.image is None:
            return None
        return thought(server.model.answer(call.prompt, look(call.image)))

    server.fault = fault
    assert looked(server).usable


@pytest.mark.parametrize("text", ["", "<think>red, or is it", "The"])
def test_a_cut_answer_is_no_blindness(text: str, server: Loopback) -> None:
    def fault(call: Call) -> Answer | None:
        cut = COLOUR in call.prompt and call.body["max_tokens"] < 4 * 4096
        return Answer(text=text, finish="length") if cut else None

    server.fault = fault
    assert looked(server).usable


def test_what_the_endpoint_refuses_is_shown(server: Loopback) -> None:
    server.refused = {
        "response_format": "response_format is not supported",
        "temperature": "temperature is not supported with this model",
        "max_tokens": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'.",
    }
    ran = check(server)
    assert ran.code == 0, ran.err
    takes = ran.json["takes"]
    assert (takes["schema"], takes["temperature"], takes["max_tokens"]) == (False,) * 3
    assert statuses(ran)["structured output"] == "warn"


def test_a_schema_that_is_ignored_is_seen(server: Loopback) -> None:
    step = next(s for s in check(server).json["steps"] if s["name"] == "structured output")
    assert step["status"] == "warn", "the loopback model does not keep to schemas"
    assert "does not keep to the schema" in step["message"]


def test_a_reply_that_is_always_cut_names_the_token_limit(server: Loopback) -> None:
    def cut(call: Call) -> Answer | None:
        return Answer(cut=0.5, finish="length") if call.step == "0" else None

    server.fault = cut
    ran = check(server)
    assert ran.code == 4
    assert statuses(ran)["token limit"] == "fail"
    assert "max_tokens" in ran.json["remedy"]


def test_a_rate_limit_that_is_reached_is_named(server: Loopback) -> None:
    server.fault = lambda call: Answer(status=429, message="quota", headers={"retry-after": "0"})
    ran = check(server, "workflow.max_attempts=2")
    assert ran.code == 4
    assert "✗ text call: rate limit reached" in ran.err
    assert "next: " in ran.err
    assert "rate limit reached" in ran.json["error"]
    assert "requests_per_minute" in ran.json["remedy"]


def test_servers_that_need_an_image_pass(server: Loopback) -> None:
    server.needs_image = True
    ran = check(server)
    assert ran.code == 0, ran.err
    step = next(s for s in ran.json["steps"] if s["name"] == "text call")
    assert step["details"]["needs_image"]


def test_a_spec_in_the_wrong_convention_is_refused(server: Loopback) -> None:
    ran = check(server, "vlm.coordinates=norm1000_yxyx")
    assert ran.code == 4
    assert "the spec says norm1000_yxyx" in ran.json["error"]
    assert "auto" in ran.json["remedy"]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("gemini-2.5-flash", "retires on 2026-12-01; use gemini-3.5-flash-lite"),
        ("gemini-2.0-flash", "is gone"),
        ("gemini-3.5-flash-lite", None),
    ],
)
def test_gemini_names_are_looked_up(model: str, words: str | None, server: Loopback) -> None:
    server.names = [model]
    server.model.convention = "norm1000_yxyx"
    ran = run_script(
        "check_endpoint.py", "--backend", "gemini", "--base-url", server.gemini_url,
        "--model", model, GOOGLE_API_KEY="a-key-for-the-test",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert list(statuses(ran)) == ALL
    first = ran.json["steps"][0]
    assert (first["status"] == "warn") is (words is not None)
    assert words is None or words in first["message"]
    assert ran.json["takes"]["media_resolution"] is True
    assert "a-key-for-the-test" not in ran.out + ran.err


def test_no_key_for_gemini(server: Loopback) -> None:
    ran = run_script("check_endpoint.py", "--backend", "gemini", "--base-url", server.gemini_url)
    assert ran.code == 4
    assert "GOOGLE_API_KEY" in ran.json["error"] + ran.json["remedy"]


def test_a_key_from_a_variable_never_shows(server: Loopback) -> None:
    server.key = "the-right-key-4711"
    ran = check(server, "--api-key-env", "MY_KEY", MY_KEY="the-wrong-key-0815")
    assert ran.code == 4
    assert "0815" not in ran.out + ran.err
    ran = check(server, "--api-key-env", "MY_KEY", MY_KEY="the-right-key-4711")
    assert ran.code == 0
    assert "4711" not in ran.out + ran.err


def test_the_spec_of_a_run_is_checked(
    make_project: Callable[..., Project], server: Loopback
) -> None:
    spec = make_project(1).folder / "spec.yaml"
    spec.write_text(
        "results_dir: ???\nimage_grounding:\n  data:\n    input_jsonl: ???\n  vlm:\n"
        f"    backend: openai\n    openai: {{base_url: '{server.base_url}', "
        "model_name: test-vlm}\n"
    )
    ran = run_script("check_endpoint.py", "-e", str(spec), "--quiet")
    assert ran.code == 0
    assert ran.err == ""
    assert json.loads(ran.out)["usable"] is True


def test_the_embedded_annotator_needs_nothing() -> None:
    ran = run_script("check_endpoint.py", "--backend", "local")
    assert ran.code == 0
    assert ran.json["usable"] is True
