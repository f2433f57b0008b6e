# SPDX-License-Identifier: Apache-2.0
"""Boxes are right on any endpoint: the convention is measured, and refused where it cannot be."""

import json
import statistics
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from conftest import Project, write_jsonl
from image_grounding.boxes.frames import CONVENTIONS, Transport
from image_grounding.boxes.geometry import box_iou
from image_grounding.families.families import family_of
from image_grounding.measuring import Probe, ProbeResult, make_probes
from image_grounding.measuring.measurement import MIN_LEAD, decide
from image_grounding.replies import RawInstance
from support.loopback import Answer, Call, Loopback
from support.model import Model
from support.scenes import make_scene
from support.scripts import Ran, run_script

SIZES = [
    ((333, 1007), 1, "png"),
    ((640, 480), 6, "jpg"),
    ((900, 1300), 3, "jpg"),  # more than families without a size of their own get
]
LARGE = [((1200, 1800), 8, "jpg")]  # more than any transport here
AUTO = "vlm.coordinates=auto"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_photos(tmp_path_factory.mktemp("photos"), SIZES)


@pytest.fixture(scope="module")
def large_photos(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_photos(tmp_path_factory.mktemp("large"), LARGE)


def make_photos(folder: Path, kinds: Sequence[tuple[tuple[int, int], int, str]]) -> Project:
    scenes, rows = {}, []
    for index, (size, orientation, ending) in enumerate(kinds):
        name = f"photo{index}.{ending}"
        scenes[name] = make_scene(size, seed=index)
        scenes[name].save(folder / name, orientation)
        rows.append({"image_path": name, "caption": scenes[name].caption})
    write_jsonl(folder / "input.jsonl", rows)
    return Project(folder, scenes)


def overrides(project: Project, server: Loopback, results: Path, *more: str) -> list[str]:
    given = [text for text in project.overrides(server, *more) if "results_dir" not in text]
    return [f"results_dir={results}", *given]


def run(project: Project, server: Loopback, results: Path, *more: str, **environment: str) -> Ran:
    arguments = overrides(project, server, results, AUTO, *more)
    return run_script("run_pipeline.py", *arguments, **environment)


def mean_iou(project: Project, results: Path) -> float:
    ious = []
    for line in (results / "annotations.jsonl").read_text().splitlines():
        record = json.loads(line)
        scene = project.scenes[record["image_path"]]
        assert (record["width"], record["height"]) == scene.size
        for expression, (colour, truth) in zip(record["expressions"], scene.boxes, strict=True):
            assert colour in expression["text"]
            (instance,) = expression["instances"]
            ious.append(box_iou(tuple(instance["bbox"]), truth))
    assert len(ious) == sum(len(scene.boxes) for scene in project.scenes.values())
    return statistics.fmean(ious)


@pytest.mark.parametrize(
    ("convention", "model"),
    [
        *((convention, "some-alias") for convention in CONVENTIONS),
        ("norm1000_xyxy", "Qwen/Qwen3-VL-8B-Instruct"),
        ("pixel_resized", "Qwen/Qwen2.5-VL-7B-Instruct"),
        ("norm1000_yxyx", "google/gemma-3-27b-it"),
        ("norm1000_xyxy", "OpenGVLab/InternVL3-8B"),
    ],
)
def test_boxes_are_right_in_every_convention(
    convention: str, model: str, photos: Project, tmp_path: Path
) -> None:
    with Loopback(Model(convention)) as server:
        server.names = [model]
        ran = run(photos, server, tmp_path, f"vlm.openai.model_name={model}")
        assert ran.code == 0, ran.err
        assert mean_iou(photos, tmp_path) >= 0.97
    teacher = json.loads((tmp_path / "run_summary.json").read_text())["teacher"]
    same = {"pixel_sent", "pixel_resized"}
    assert teacher["convention"] == convention or {teacher["convention"], convention} == same
    assert teacher["convention_iou"] >= 0.97


@pytest.mark.parametrize(
    ("model", "more"),
    [
        (Model("pixel_sent"), ["vlm.gemini.model=gemini-3.5-flash-lite", "vlm.backend=gemini"]),
        (Model("pixel_resized"), ["vlm.gemini.model=gemini-3.5-flash-lite", "vlm.backend=gemini"]),
        (Model("pixel_sent"), ["vlm.image.max_pixels=2000000"]),
        (Model("pixel_resized"), ["vlm.image.max_pixels=2000000"]),
        (Model("pixel_resized", resize_most=16384), ["vlm.image.max_pixels=2000000"]),
        (Model("pixel_resized", resize_most=16384), []),
    ],
    ids=str,
)
def test_pixels_are_right_however_large_images_travel(
    model: Model, more: list[str], large_photos: Project, tmp_path: Path
) -> None:
    with Loopback(model) as server:
        server.names += ["gemini-3.5-flash-lite"]
        gateway = f"vlm.gemini.base_url={server.gemini_url}"
        key = "a-key-for-the-test"
        ran = run(large_photos, server, tmp_path, gateway, *more, GOOGLE_API_KEY=key)
        assert ran.code == 0, ran.err
        assert mean_iou(large_photos, tmp_path) >= 0.97


@pytest.mark.parametrize(
    ("form", "structured"),
    [
        *((form, "auto") for form in ("objects", "list", "keyed", "fenced", "prose")),
        ("prose", "false"),
    ],
)
def test_every_form_of_reply_is_measured(
    form: str, structured: str, make_project: Callable[..., Project], tmp_path: Path
) -> None:
    project = make_project(1)
    with Loopback(Model("norm1_xyxy", form=form)) as server:
        ran = run(project, server, tmp_path / "out", f"vlm.structured_output={structured}")
        assert ran.code == 0, ran.err
        assert mean_iou(project, tmp_path / "out") >= 0.95


def test_gemini_is_measured_over_its_own_protocol(
    make_project: Callable[..., Project], tmp_path: Path
) -> None:
    project = make_project(1, (600, 450))
    with Loopback(Model("norm1000_yxyx")) as server:
        server.names = ["gemini-3.5-flash-lite"]
        ran = run(
            project, server, tmp_path / "out",
            "vlm.backend=gemini", f"vlm.gemini.base_url={server.gemini_url}",
            GOOGLE_API_KEY="a-key-for-the-test",
        )  # fmt: skip
        assert ran.code == 0, ran.err
        assert mean_iou(project, tmp_path / "out") >= 0.97
        assert all("box_2d" in call.prompt for call in server.calls if call.step == "1")


def test_what_was_measured_is_kept_beside_the_results(
    make_project: Callable[..., Project], server: Loopback, tmp_path: Path
) -> None:
    project = make_project(2)
    out = tmp_path / "out"
    assert run(project, server, out).code == 0
    assert (len(server.probes), len(server.calls)) == (3, 2 * 2)
    scene = make_scene((400, 300), seed=9)
    scene.save(project.folder / "new.png")
    with project.input.open("a") as file:
        file.write(json.dumps({"image_path": "new.png", "caption": scene.caption}) + "\n")
    ran = run(project, server, out)
    assert ran.code == 0
    assert len(server.calls) == 2 * 2 + 2
    assert len(server.probes) == 3 + 1, "the measurement is not made again, but tried on one"
    assert ran.json["teacher"]["convention_iou"] >= 0.97
    nothing = run(project, server, out)  # is left to do, and what is known stays known
    assert nothing.json["teacher"] == ran.json["teacher"]
    assert nothing.json["usage"]["requests"] == 0
    in_all = nothing.json["usage_of_all_runs"]
    assert (in_all["runs"], in_all["requests"]) == (3, 3 + 1 + 2 * 2 + 2)
    server.names.append("other-vlm")
    run(project, server, out, "vlm.openai.model_name=other-vlm", "workflow.force_reprocess=true")
    assert len(server.probes) == 3 + 1 + 3, "another model is measured"


def test_finished_runs_measure_nothing(
    make_project: Callable[..., Project], server: Loopback, tmp_path: Path
) -> None:
    project = make_project(1)
    assert run(project, server, tmp_path / "out").code == 0
    (tmp_path / "out" / "box_convention.json").unlink()
    asked = len(server.calls + server.probes)
    assert run(project, server, tmp_path / "out").code == 0
    assert len(server.calls + server.probes) == asked


def test_an_explicit_convention_skips_the_measuring(
    make_project: Callable[..., Project], server: Loopback
) -> None:
    project = make_project(1)
    ran = project.run(server)
    assert (ran.code, len(server.calls), len(server.probes)) == (0, 2, 1)
    assert "boxes come as norm1000_xyxy, as the spec says" in ran.err


KNOWN: list[tuple[str, dict[str, Any], str]] = [
    ("nonsense", {"nonsense": True}, "cannot place boxes"),
    ("another convention", {"convention": "norm1000_yxyx"}, "answers in norm1000_yxyx"),
]


@pytest.mark.parametrize(("name", "model", "words"), KNOWN, ids=[row[0] for row in KNOWN])
def test_an_explicit_convention_that_its_probe_contradicts_ends_the_run(
    name: str, model: dict[str, Any], words: str, make_project: Callable[..., Project]
) -> None:
    project = make_project(1)
    with Loopback(Model(**model)) as server:
        ran = project.run(server)
        assert (ran.code, server.calls) == (4, [])
    assert words in ran.json["error"]


@pytest.mark.parametrize(("name", "model", "words"), KNOWN, ids=[row[0] for row in KNOWN])
def test_a_trusted_convention_has_the_last_word(
    name: str, model: dict[str, Any], words: str, make_project: Callable[..., Project]
) -> None:
    project = make_project(1)
    with Loopback(Model(**model)) as server:
        ran = project.run(server, "vlm.coordinates_trusted=true")
        assert (ran.code, len(server.calls), len(server.probes)) == (0, 2, 1)
    assert "warning: the boxes of the probe are elsewhere" in ran.err
    assert ran.json["teacher"]["convention_iou"] < 0.5


def test_a_blind_model_is_refused_whatever_the_spec_says(
    make_project: Callable[..., Project],
) -> None:
    project = make_project(1)
    with Loopback(Model(blind=True)) as server:
        ran = project.run(server)
        assert (ran.code, server.calls) == (4, [])
    assert "does not see images" in ran.json["error"]


def test_an_answer_outweighs_what_a_gateway_says_of_its_health(
    make_project: Callable[..., Project], server: Loopback
) -> None:
    server.paths["/v1/health/ready"] = (503, b"no such service")
    assert make_project(1).run(server).code == 0


def test_a_model_that_was_exchanged_is_measured_anew(
    make_project: Callable[..., Project], server: Loopback, tmp_path: Path
) -> None:
    project = make_project(1)
    assert run(project, server, tmp_path / "out").code == 0
    scene = make_scene((400, 300), seed=9)
    scene.save(project.folder / "new.png")
    write_jsonl(project.input, [{"image_path": "new.png", "caption": scene.caption}])
    server.model.convention = "norm1_xyxy"
    ran = run(project, server, tmp_path / "out")
    assert ran.json["teacher"]["convention"] == "norm1_xyxy"


def test_inexact_boxes_are_warned_about(
    make_project: Callable[..., Project], tmp_path: Path
) -> None:
    with Loopback(Model(margin=0.12)) as server:
        ran = run(make_project(1), server, tmp_path / "out")
        assert ran.code == 0, ran.err
        assert "warning: the boxes are not exact: " in ran.err
        checked = run_script(
            "check_endpoint.py", "--base-url", server.base_url, "--model", "test-vlm"
        )
    assert checked.code == 0
    step = next(one for one in checked.json["steps"] if one["name"] == "box convention")
    assert step["status"] == "warn"
    assert "the boxes are not exact" in step["message"]


LOADING = b'{"error": {"type": "model_loading", "message": "soon"}}'


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/api/v1/health/readiness", 202, LOADING),
        ("/api/v1/health/readiness", 503, LOADING),
        ("/v1/health/ready", 503, b""),
        ("/health", 503, b'{"error": {"message": "Loading model"}}'),
    ],
)
def test_a_run_does_not_wait_for_a_server_that_loads(
    path: str, status: int, body: bytes, make_project: Callable[..., Project], server: Loopback
) -> None:
    server.paths[path] = (status, body)
    server.fault = lambda call: Answer(503, headers={"Retry-After": "100"})
    ran = make_project(1).run(server)
    assert ran.code == 4
    assert "still loading" in ran.json["error"]
    assert "--wait" in ran.json["remedy"]
    assert server.probes == []


def test_a_wrong_profile_is_warned_about_and_loses(
    make_project: Callable[..., Project], tmp_path: Path
) -> None:
    project = make_project(1, (600, 350))
    with Loopback(Model("norm1000_yxyx")) as server:
        server.names = ["Qwen3-VL-gateway"]
        ran = run(project, server, tmp_path / "out", "vlm.openai.model_name=Qwen3-VL-gateway")
        assert ran.code == 0
        assert "known to write norm1000_xyxy" in ran.err
        assert "answers in norm1000_yxyx" in ran.err
        assert mean_iou(project, tmp_path / "out") >= 0.97


REFUSALS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("nonsense", {"nonsense": True}, ["cannot place boxes: best mean IoU 0.", " as "]),
    ("blind", {"blind": True}, ["does not see images"]),
]


@pytest.mark.parametrize(("name", "model", "words"), REFUSALS, ids=[row[0] for row in REFUSALS])
def test_a_model_that_cannot_ground_is_refused(
    name: str,
    model: dict[str, Any],
    words: list[str],
    make_project: Callable[..., Project],
    tmp_path: Path,
) -> None:
    project = make_project(3)
    with Loopback(Model(**model)) as server:
        ran = run(project, server, tmp_path / "out")
        assert ran.code == 4
        assert all(word in ran.json["error"] for word in words), ran.json["error"]
        assert "choose a vision-language model" in ran.json["remedy"]
        assert (tmp_path / "out" / "annotations.jsonl").read_text() == ""
        assert [call for call in server.calls if call.step == "0"] == [], "no sample was spent"
    for path in (tmp_path / "out").rglob("failures.jsonl"):
        assert path.read_text() == "", "no sample is to blame"


def test_replies_that_cannot_be_read_are_refused_as_such(
    make_project: Callable[..., Project], server: Loopback, tmp_path: Path
) -> None:
    def chatter(call: Call) -> Answer | None:
        boxes = "EXPRESSIONS: " in call.prompt
        return Answer(text="What a lovely picture!") if boxes else None

    server.fault = chatter
    ran = run(make_project(1), server, tmp_path / "out")
    assert ran.code == 4
    assert "cannot be read" in ran.json["error"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"names": ["Qwen3-VL-8B"]}, ["does not serve 'test-vlm'", "Qwen3-VL-8B"]),
        ({"key": "sk-the-right-key"}, ["refused the key"]),
    ],
)
def test_an_endpoint_that_cannot_be_used_is_named(
    change: dict[str, Any],
    words: list[str],
    make_project: Callable[..., Project],
    server: Loopback,
    tmp_path: Path,
) -> None:
    for name, value in change.items():
        setattr(server, name, value)
    ran = run(make_project(2), server, tmp_path / "out")
    assert ran.code == 4
    assert all(word in ran.json["error"] for word in words), ran.json
    assert ran.json["remedy"]


def test_an_address_without_v1_is_named_with_the_right_one(
    make_project: Callable[..., Project], server: Loopback, tmp_path: Path
) -> None:
    ran = run(make_project(1), server, tmp_path / "out", f"vlm.openai.base_url={server.gemini_url}")
    assert ran.code == 4
    assert server.base_url in ran.json["remedy"]


@cache
def drawn(transport: Transport) -> Sequence[Probe]:
    """The probes of a transport, drawn and encoded once."""
    return make_probes(transport)


def answers(transport: Transport, convention: str, share: float = 1.0) -> list[ProbeResult]:
    """Perfect answers in a convention, for the first ``share`` of each probe's expressions."""
    results = []
    for probe in drawn(transport):
        known = list(probe.truth.items())[: round(share * len(probe.truth))]
        numbers = {
            name: [RawInstance(0, CONVENTIONS[convention].from_sent(box, probe.image.frame), None)]
            for name, box in known
        }
        results.append(ProbeResult(probe, numbers))
    return results


TRANSPORTS = [
    Transport(1280 * 28 * 28),
    Transport(1280 * 28 * 28, 28, 4 * 28 * 28),
    Transport(1024 * 32 * 32, 32, 4 * 32 * 32),
    Transport(60_000),
    Transport(4_000_000, 14, 2_000_000),
]


@pytest.mark.parametrize("transport", TRANSPORTS, ids=str)
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_probes_tell_all_conventions_apart(transport: Transport, convention: str) -> None:
    measured = decide(answers(transport, convention), convention)
    assert measured.chosen == convention
    assert measured.iou > 0.99
    pixel = {"pixel_sent", "pixel_resized"}
    rivals = [
        iou
        for name, iou in measured.ious.items()
        if name != convention and not {name, convention} <= pixel
    ]
    assert max(rivals) < 0.99 - 3 * MIN_LEAD


def test_probes_travel_as_they_were_drawn() -> None:
    for transport in TRANSPORTS:
        for probe in drawn(transport):
            width, height = probe.image.frame.sent
            assert probe.image.frame.original == (width, height)
            assert width != height
            assert width % transport.multiple == height % transport.multiple == 0
            assert width * height <= transport.max_pixels
            for x1, y1, x2, y2 in probe.truth.values():
                assert 0 <= x1 < x2 <= width
                assert 0 <= y1 < y2 <= height


@pytest.mark.parametrize(("share", "chosen"), [(1.0, True), (0.67, True), (0.34, False)])
def test_half_of_the_boxes_must_be_found(share: float, chosen: bool) -> None:
    measured = decide(answers(TRANSPORTS[0], "norm1000_xyxy", share), "norm1000_xyxy")
    assert (measured.chosen == "norm1000_xyxy") is chosen


@pytest.mark.parametrize("convention", ["pixel_sent", "pixel_resized"])
def test_where_the_two_pixel_conventions_differ_the_answers_decide(convention: str) -> None:
    """Not what is expected of the family."""
    (other,) = {"pixel_sent", "pixel_resized"} - {convention}
    large = Transport(4_000_000, 14, 2_000_000)  # more than a server leaves alone
    assert decide(answers(large, convention), other).chosen == convention


@pytest.mark.parametrize("model", ["Qwen/Qwen2.5-VL-7B-Instruct", "some-alias"])
def test_of_the_two_pixel_conventions_the_safe_one_is_taken(model: str) -> None:
    expected = family_of(model).convention
    results = answers(TRANSPORTS[0], "pixel_sent")
    assert decide(results, expected).chosen == "pixel_resized"
