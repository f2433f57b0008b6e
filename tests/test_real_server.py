# SPDX-License-Identifier: Apache-2.0
"""llama.cpp's real server with a tiny random model: its protocol is true, its answers noise."""

import asyncio
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from conftest import Project, write_jsonl
from image_grounding.asking.asker import Asker, RetryPolicy
from image_grounding.asking.endpoints.openai import OpenAIEndpoint
from image_grounding.asking.limits import Gate
from image_grounding.boxes.frames import Transport
from image_grounding.errors import KeyRefusedError, RejectedRequestError
from image_grounding.images.encoding import EncodedImage, encode_image
from image_grounding.spec import OpenAI
from image_grounding.steps.question import Finish, Question, Reply, ReplySchema
from support.llamacpp import KEY, MODEL, LlamaServer
from support.scenes import make_scene
from support.scripts import Ran, run_script
from support.tiny_vlm import CONTEXT

Maker = Callable[..., Project]

TRANSPORT = Transport(max_pixels=10**6)
CHOICE = ReplySchema(
    "choice",
    {
        "type": "object",
        "properties": {
            "colour": {"enum": ["red", "green", "blue"]},
            "count": {"type": "integer"},
        },
        "required": ["colour", "count"],
        "additionalProperties": False,
    },
)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaServer]:
    with LlamaServer(tmp_path_factory.mktemp("llama")) as running:
        yield running


@pytest.fixture
def image(tmp_path_factory: pytest.TempPathFactory) -> EncodedImage:
    path = make_scene((96, 64)).save(tmp_path_factory.mktemp("image") / "scene.png")
    return encode_image(path, TRANSPORT)


def send(
    llama: LlamaServer, question: Question, image: EncodedImage | None = None, *,
    key: str = KEY, max_tokens: int = 64, structured: bool = True,
) -> Reply:  # fmt: skip
    async def ask() -> Reply:
        settings = OpenAI(key, llama.base_url, MODEL, 0.0, max_tokens, 30)
        endpoint = OpenAIEndpoint(settings, structured, lambda message: None)
        asker = Asker(lambda: endpoint, Gate(1), RetryPolicy(attempts=1))
        try:
            return await asker.ask(question, image)
        finally:
            await asker.close()

    return asyncio.run(ask())


def test_a_cut_reply_says_so(llama: LlamaServer, image: EncodedImage) -> None:
    reply = send(llama, Question("What is this?"), image, max_tokens=64)
    assert reply.finish is Finish.LENGTH
    assert reply.usage.output_tokens == 64
    assert reply.usage.input_tokens > 16, "the picture takes 16 tokens"


def test_it_looks_at_the_picture(llama: LlamaServer, image: EncodedImage, tmp_path: Path) -> None:
    other = encode_image(make_scene((64, 96), seed=5).save(tmp_path / "other.png"), TRANSPORT)
    first, again, second = (
        send(llama, Question("What is this?"), shown).text for shown in (image, image, other)
    )
    assert first == again != second


def test_the_schema_is_kept(llama: LlamaServer, image: EncodedImage) -> None:
    validator = Draft202012Validator(CHOICE.schema)
    for number in range(5):
        question = Question(f"Question {number}", schema=CHOICE)
        reply = send(llama, question, image)
        if reply.finish is Finish.STOP:
            validator.validate(json.loads(reply.text))
        with pytest.raises(ValueError):
            json.loads(send(llama, question, image, structured=False).text)


def test_what_it_had_in_its_cache(llama: LlamaServer) -> None:
    first, again = (send(llama, Question("Count to ten.")).usage for _ in range(2))
    assert first.input_tokens == again.input_tokens > again.cached_tokens > 0


@pytest.mark.parametrize("data", [b"this is no picture", b"\x89PNG\r\n\x1a\n cut"])
def test_a_picture_that_cannot_be_decoded(
    data: bytes, llama: LlamaServer, image: EncodedImage
) -> None:
    broken = dataclasses.replace(image, data=data)
    with pytest.raises(RejectedRequestError, match="image") as caught:
        send(llama, Question("What is this?"), broken)
    assert not caught.value.fatal
    assert send(llama, Question("And now?"), image).text, "it goes on"


def test_a_prompt_over_the_context(llama: LlamaServer, image: EncodedImage) -> None:
    with pytest.raises(RejectedRequestError, match="context") as caught:
        send(llama, Question("word " * CONTEXT), image)
    assert not caught.value.fatal


@pytest.mark.parametrize("key", ["another-key-0123456789", ""])
def test_a_wrong_key(key: str, llama: LlamaServer) -> None:
    with pytest.raises(KeyRefusedError) as caught:
        send(llama, Question("Hello"), key=key)
    assert not key or key not in str(caught.value)


def run(project: Project, llama: LlamaServer, *more: str, key: str = KEY) -> Ran:
    return run_script(
        "run_pipeline.py", f"results_dir={project.results}", f"data.input_jsonl={project.input}",
        f"data.image_root={project.folder}", "vlm.backend=openai",
        f"vlm.openai.base_url={llama.base_url}", f"vlm.openai.model_name={MODEL}",
        "vlm.openai.api_key=${oc.env:LLAMA_KEY}", "vlm.openai.max_tokens=128",
        "vlm.coordinates=norm1000_xyxy", *more, LLAMA_KEY=key,
    )  # fmt: skip


@pytest.mark.parametrize("structured", ["auto", "false"])
def test_a_whole_run_ends_cleanly(structured: str, llama: LlamaServer, make_project: Maker) -> None:
    """Whatever noise comes back: every sample is annotated or listed, with a reason."""
    project = make_project(6, size=(96, 64))
    ran = run(project, llama, f"vlm.structured_output={structured}", "workflow.max_attempts=2")
    assert ran.code in (0, 3, 4), ran.err
    assert "Traceback" not in ran.err
    done = {record["image_path"] for record in project.annotations()}
    failures = [one for step in "01" for one in project.failures(step)]
    failed = {one["image_path"] for one in failures}
    assert not done & failed
    assert all(one["reason"] != "internal_error" and one["message"] for one in failures)
    if ran.code != 4:
        assert done | failed == set(project.scenes)
    else:
        assert ran.json["counts"]["not_attempted"] + len(done | failed) == len(project.scenes)
    assert ran.json["usage"]["requests"] >= 6


def test_step_1_meets_noise(llama: LlamaServer, make_project: Maker) -> None:
    """Step 0 by hand, so that pictures are sent for certain; mostly the probe sees the noise."""
    project = make_project(3, size=(96, 64))
    record = {"cleaned_caption": "A red box.", "expressions": [{"text": "A red box"}]}
    rows = [{"image_path": name, **record} for name in project.scenes]
    folder = project.results / "step_0_expression_extraction"
    folder.mkdir(parents=True)
    write_jsonl(folder / "annotations.jsonl", rows)
    ran = run(project, llama, 'workflow.steps=["1"]', "workflow.max_attempts=2")
    assert ran.code in (0, 3, 4), ran.err
    assert "Traceback" not in ran.err
    assert len(project.annotations()) + len(project.failures("1")) == (0 if ran.code == 4 else 3)
    assert ran.json["usage"]["image_bytes"] > 0
    for record in project.annotations():
        for expression in record["expressions"]:
            for one in expression["instances"]:
                x1, y1, x2, y2 = one["bbox"]
                assert 0 <= x1 < x2 <= 96
                assert 0 <= y1 < y2 <= 64


def test_a_run_with_a_wrong_key(llama: LlamaServer, make_project: Maker) -> None:
    wrong = "sk-wrong-key-0123456789"
    project = make_project(6, size=(96, 64))
    ran = run(project, llama, key=wrong)
    assert (ran.code, "refused the key" in ran.json["error"]) == (4, True)
    assert project.annotations() == []
    assert wrong not in ran.out + ran.err
