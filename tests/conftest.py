# SPDX-License-Identifier: Apache-2.0
"""Fixtures: the loopback server, input files, scripts run as users run them."""

import gc
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from support import surroundings
from support.browser import LEFT_OUT, REQUIRED, find_browser, running_browser
from support.loopback import Loopback
from support.scenes import Scene, make_scene
from support.scripts import SCRIPTS, Ran, Started, run_script, start_script

gc.disable()  # until all tests are there: next to nothing of what is loaded goes away again
sys.path.append(str(SCRIPTS))
sys.dont_write_bytecode = False
surroundings.prepare()

if TYPE_CHECKING:
    from playwright.sync_api import Browser

BROWSER_TESTS_RUN = REQUIRED or find_browser() is not None


# A slow machine is no defect.
hypothesis.settings.register_profile(
    "any_speed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any_speed")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "browser: needs a Chromium on PATH")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not BROWSER_TESTS_RUN:
        left_out = [item for item in items if item.get_closest_marker("browser")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_collection_finish(session: pytest.Session) -> None:
    # What is there by now stays to the end; to look through all of it again and again takes long.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)
    gc.enable()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not BROWSER_TESTS_RUN:
        terminalreporter.write_line(LEFT_OUT, yellow=True)


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    with running_browser() as running:
        yield running


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback() as running:
        yield running


def write_jsonl(path: Path, rows: Sequence[Any]) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@dataclass
class Project:
    """A folder with pictures, an input file and a results folder."""

    folder: Path
    scenes: dict[str, Scene]

    @property
    def input(self) -> Path:
        return self.folder / "input.jsonl"

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def overrides(self, server: Loopback, *more: str) -> list[str]:
        """Overrides for the openai backend against the loopback server."""
        return [
            f"results_dir={self.results}",
            f"data.input_jsonl={self.input}",
            f"data.image_root={self.folder}",
            "vlm.backend=openai",
            f"vlm.openai.base_url={server.base_url}",
            "vlm.openai.model_name=test-vlm",
            "vlm.coordinates=norm1000_xyxy",
            *more,
        ]

    def run(self, server: Loopback, *more: str, **environment: str) -> Ran:
        return run_script("run_pipeline.py", *self.overrides(server, *more), **environment)

    def start(self, server: Loopback, *more: str) -> Started:
        """Start a run, and go on while it is at work."""
        return start_script("run_pipeline.py", *self.overrides(server, *more))

    def annotations(self) -> list[dict[str, Any]]:
        return read_jsonl(self.results / "annotations.jsonl")

    def ids(self) -> list[str]:
        """The ids of all boxes in the annotations."""
        return [
            instance["bbox_id"]
            for record in self.annotations()
            for expression in record["expressions"]
            for instance in expression["instances"]
        ]

    def failures(self, step: str = "1") -> list[dict[str, Any]]:
        folder = {"0": "step_0_expression_extraction", "1": "step_1_grounding"}[step]
        return read_jsonl(self.results / folder / "failures.jsonl")


def new_project(folder: Path, count: int = 3, size: tuple[int, int] = (320, 240)) -> Project:
    """A project of ``count`` scenes in a folder."""
    scenes = {}
    rows = []
    for index in range(count):
        scene = make_scene(size, seed=index)
        name = f"scene{index}.png"
        scene.save(folder / name)
        scenes[name] = scene
        rows.append({"image_path": name, "caption": scene.caption})
    write_jsonl(folder / "input.jsonl", rows)
    return Project(folder, scenes)


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[..., Project]:
    return partial(new_project, tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project of 3 samples whose run is over; it stays as it is."""
    project = new_project(tmp_path_factory.mktemp("finished"))
    with Loopback() as running:
        ran = project.run(running)
    assert ran.code == 0, ran.err
    return project


@pytest.fixture
def finished_copy(finished: Project, tmp_path: Path) -> Project:
    """A copy of such a project, with every time stamp as it was."""
    shutil.copytree(finished.folder, tmp_path, dirs_exist_ok=True)
    return Project(tmp_path, finished.scenes)
