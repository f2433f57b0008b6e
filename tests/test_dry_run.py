# SPDX-License-Identifier: Apache-2.0
"""Dry runs: all that can be known before anything is asked, and nothing left behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import Project, read_jsonl, write_jsonl
from image_grounding.boxes.frames import Transport
from image_grounding.errors import SampleError
from image_grounding.images.encoding import encode_image
from image_grounding.images.pixels import upright_size
from image_grounding.run.dry_run import DryRun
from image_grounding.run.progress import Quiet
from image_grounding.spec import load_spec
from support.loopback import Answer, Loopback
from support.scenes import make_scene
from support.scripts import run_script

Maker = Callable[..., Project]


def files_of(project: Project) -> dict[Path, float]:
    return {path: path.stat().st_mtime for path in project.folder.rglob("*")}


def look(overrides: list[str]) -> dict[str, Any]:
    """The report of a dry run, in this process."""
    dry_run = DryRun(load_spec(None, overrides, without_keys=True), Quiet())
    dry_run.look()
    return dry_run.plain()


def estimate_of(project: Project, *more: str) -> Any:
    """With no server anywhere and no key set."""
    data = [f"data.input_jsonl={project.input}", f"data.image_root={project.folder}"]
    return look([f"results_dir={project.results}", *data, *more])["estimate"]


def test_a_good_input(server: Loopback, make_project: Maker) -> None:
    project = make_project(3)
    before = files_of(project)
    ran = project.run(server, "--dry-run")
    assert ran.code == 0, ran.err
    assert (ran.json["status"], ran.json["lines"], ran.json["samples"]) == ("ready", 3, 3)
    assert ran.json["images"]["unique"] == 3
    assert ran.json["estimate"]["requests_by_step"] == {"0": 3, "1": 3}
    assert "requests" in ran.err, "a table for people"
    assert files_of(project) == before, "a dry run writes nothing"
    assert not server.calls + server.gets


def test_every_fault_is_found(server: Loopback, make_project: Maker) -> None:
    project = make_project(2)
    good = read_jsonl(project.input)
    (project.folder / "text.png").write_text("hello")
    rows: list[Any] = [
        good[0],
        "{not json",
        good[0],
        {"image_path": "scene0.png", "caption": " "},
        {"image_path": "gone.jpg", "caption": "a red rectangle"},
        {"image_path": "gone.jpg", "caption": "a blue rectangle"},
        {"image_path": "text.png", "caption": "a red rectangle"},
        "",
        {**good[1], "width": 1920, "height": 1080},
        {**good[1], "caption": "a red box", "width": 320},
        {**good[1], "caption": "a blue box", "height": 9},
    ]
    write_jsonl(project.input, rows)
    ran = project.run(server, "--dry-run")
    assert ran.code == 3, ran.err
    report = ran.json
    assert (report["lines"], report["samples"], report["repeated_lines"]) == (10, 4, 1)
    assert report["images"] == {
        "unique": 4, "decoded": 2,
        "image_missing": 1, "image_unreadable": 1, "image_too_large": 0,
    }  # fmt: skip
    assert report["unusable"]["total"] == 5
    assert report["unusable"]["by_reason"] == {
        "bad_line": 2, "image_missing": 2, "image_unreadable": 1,
    }  # fmt: skip
    assert [one["line"] for one in report["unusable"]["first"]] == [2, 4, 5, 6, 7]
    assert "not JSON" in report["unusable"]["first"][0]["message"]
    assert report["wrong_sizes"]["first"] == [
        "line 9: 1920x1080 in the input, 320x240 in the file",
        "line 11: ?x9 in the input, 320x240 in the file",
    ]
    assert "line 2: not JSON" in ran.err
    # The run itself finds the same.
    real = project.run(server)
    failed = {one["line"] for one in project.failures("0")}
    assert (real.code, failed) == (3, {2, 4, 5, 6, 7})
    assert real.json["counts"]["wrong_sizes"] == report["wrong_sizes"]["total"]
    assert real.json["usage"]["requests"] == report["estimate"]["requests"] + 1, "and a probe"


@pytest.mark.parametrize(
    ("check", "decoded", "found"), [((), 1, 2), (("all",), 1, 2), (("1",), 1, 0), (("2",), 1, 1)]
)
def test_images_that_are_cut_short(
    check: tuple[str, ...], decoded: int, found: int, server: Loopback, make_project: Maker
) -> None:
    project = make_project(1)
    make_scene((320, 240)).save(project.folder / "whole.jpg")
    whole = (project.folder / "whole.jpg").read_bytes()
    for name in ("cut.jpg", "cut too.jpg"):
        (project.folder / name).write_bytes(whole[: len(whole) // 2])
    names = ("scene0.png", "cut.jpg", "cut too.jpg", "cut.jpg")
    rows = [{"image_path": name, "caption": f"a box, {i}"} for i, name in enumerate(names)]
    write_jsonl(project.input, rows)
    dry_run = DryRun(
        load_spec(None, project.overrides(server)), Quiet(),
        **({"decode": None if check == ("all",) else int(check[0])} if check else {}),
    )  # fmt: skip
    dry_run.look()
    images = dry_run.plain()["images"]
    assert (images["unique"], images["decoded"], images["image_unreadable"]) == (3, decoded, found)
    assert dry_run.plain()["unusable"]["total"] == (0, 2, 3)[found]  # cut.jpg has two captions


def test_only_the_first_faults_are_listed(server: Loopback, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "input.jsonl", ["{"] * 25)
    ran = Project(tmp_path, {}).run(server, "--dry-run")
    assert (ran.code, ran.json["status"]) == (2, "no line can be used")
    assert (ran.json["unusable"]["total"], len(ran.json["unusable"]["first"])) == (25, 10)
    assert "15 more" in ran.err


@pytest.mark.parametrize(("rows", "words"), [([], "no lines"), (None, "cannot read the input")])
def test_input_that_cannot_be_read(
    rows: list[Any] | None, words: str, server: Loopback, tmp_path: Path
) -> None:
    if rows is not None:
        write_jsonl(tmp_path / "input.jsonl", rows)
    ran = Project(tmp_path, {}).run(server, "--dry-run")
    assert (ran.code, words in ran.json["error"]) == (2, True)


def test_finished_samples_cost_nothing(server: Loopback, make_project: Maker) -> None:
    project = make_project(4)
    scene = project.scenes["scene1.png"]
    colour = scene.boxes[0][0]
    server.fault = lambda call: (
        Answer(status=400, message="odd") if call.step == "1" and call.number > 5 else None
    )
    first = project.run(server, "workflow.max_workers=1")
    assert first.code == 3, first.err
    done = first.json["counts"]["annotated"]
    assert 0 < done < 4
    write_jsonl(
        project.input,
        [*read_jsonl(project.input), {"image_path": "scene1.png", "caption": f"a {colour} box"}],
    )
    plan = look(project.overrides(server))
    assert (plan["exit_code"], plan["samples"], plan["finished"]) == (0, 5, done)
    assert plan["estimate"]["requests_by_step"] == {"0": 1, "1": 5 - done}
    again = look(project.overrides(server, "workflow.force_reprocess=true"))
    assert again["estimate"]["requests_by_step"] == {"0": 5, "1": 5}
    server.fault = lambda call: None
    server.calls.clear()
    assert project.run(server).code == 0
    assert len(server.calls) == plan["estimate"]["requests"]


def test_step_1_alone(server: Loopback, make_project: Maker) -> None:
    project = make_project(2)
    missing = project.run(server, "--dry-run", 'workflow.steps=["1"]')
    assert (missing.code, "step_0" in missing.json["error"]) == (2, True)
    project.run(server, 'workflow.steps=["0"]')
    plan = look(project.overrides(server, 'workflow.steps=["1"]'))
    assert plan["estimate"]["requests_by_step"] == {"1": 2}


TEXT_ALONE = "vlm.image.step_0=false"
OPENAI = ("vlm.backend=openai", "vlm.openai.base_url=http://127.0.0.1:9/v1",
          "vlm.openai.api_key=${oc.env:A_VARIABLE_THAT_IS_NOT_SET}")  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "image_tokens"),
    [
        # 640x480: Qwen3-VL sees 20x15 patches of 32 pixels, Qwen2.5-VL 23x17 of 28; in step 0
        # those of at most 512x512 pixels.
        ((*OPENAI, "vlm.openai.model_name=Qwen3-VL-8B", TEXT_ALONE), 20 * 15),
        ((*OPENAI, "vlm.openai.model_name=Qwen3-VL-8B"), 20 * 15 + 18 * 13),
        ((*OPENAI, "vlm.openai.model_name=Qwen2.5-VL-7B"), 23 * 17 + 21 * 15),
        ((*OPENAI, "vlm.openai.model_name=a-model"), None),
        (("vlm.gemini.model=gemini-3.5-flash-lite", TEXT_ALONE), 1120),
        (("vlm.gemini.model=gemini-3.5-flash-lite",), 1120 + 280),
        (("vlm.gemini.model=gemini-3.5-flash-lite", "workflow.single_pass=true"), 1120),
        (("vlm.gemini.media_resolution=MEDIA_RESOLUTION_LOW",), 2 * 280),
        (("vlm.gemini.model=gemini-2.0-flash",), None),
    ],
)
def test_image_tokens_by_family(
    settings: tuple[str, ...], image_tokens: int | None, make_project: Maker
) -> None:
    project = make_project(1, size=(640, 480))
    prices = ("vlm.prices.input=1", "vlm.prices.output=10")
    found = estimate_of(project, *settings, *prices)
    assert found["image_tokens"] == image_tokens
    if image_tokens is None:
        assert (found["input_tokens"], found["cost"]) == (None, None)
    else:
        sent, written = found["text_tokens"] + image_tokens, found["output_tokens"]
        assert found["input_tokens"] == sent
        assert found["cost"] == pytest.approx((sent + 10 * written) / 1e6)


def test_no_key_is_needed(make_project: Maker) -> None:
    project = make_project(1)
    data = (f"data.input_jsonl={project.input}", f"data.image_root={project.folder}")
    ran = run_script(
        "run_pipeline.py", "--dry-run", "--quiet", "results_dir=out", *data, *OPENAI,
        "vlm.openai.model_name=a-model",
    )  # fmt: skip
    assert (ran.code, ran.err) == (0, "")
    assert ran.json["estimate"]["image_tokens"] is None
    without = run_script("run_pipeline.py", "results_dir=out", *data, *OPENAI)
    assert (without.code, "A_VARIABLE_THAT_IS_NOT_SET" in without.json["error"]) == (2, True)


def test_no_prices_no_cost(make_project: Maker) -> None:
    assert estimate_of(make_project(1))["cost"] is None


def test_the_embedded_annotator_asks_nobody(make_project: Maker) -> None:
    assert estimate_of(make_project(1), "vlm.backend=local") is None


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_from_the_header_is_the_decoded_one(
    suffix: str, orientation: int, tmp_path: Path
) -> None:
    path = make_scene((61, 37)).save(tmp_path / f"image.{suffix}", orientation)
    assert upright_size(path) == encode_image(path, Transport(10**6)).frame.original == (61, 37)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("none.png", None, "image_missing"),
        ("text.png", b"hello", "image_unreadable"),
        ("start.jpg", b"\xff\xd8\xff\xe0", "image_unreadable"),
        ("empty.png", b"", "image_unreadable"),
    ],
)
def test_headers_and_decoding_give_one_reason(
    name: str, content: bytes | None, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SampleError) as looked:
        upright_size(path)
    with pytest.raises(SampleError) as decoded:
        encode_image(path, Transport(10**6))
    assert looked.value.reason == decoded.value.reason == reason


def test_what_keeps_a_cost_unknown_is_said(make_project: Maker, server: Loopback) -> None:
    project = make_project(2)
    prices = ["vlm.prices.input=1", "vlm.prices.output=1", "--dry-run"]
    ran = project.run(server, *prices)
    assert ran.json["estimate"]["cost"] is None
    assert "check_endpoint.py --samples" in ran.json["estimate"]["note"]
    assert "test-vlm is not known here" in " ".join(ran.err.split())
    known = project.run(server, *prices, "vlm.openai.model_name=Qwen3-VL-8B").json["estimate"]
    assert known["cost"] > 0 and known["note"] is None
