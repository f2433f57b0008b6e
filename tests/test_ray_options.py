# SPDX-License-Identifier: Apache-2.0
"""What can be said of --engine ray without Ray: its options, and how errors travel."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest

from conftest import Project
from image_grounding import errors
from image_grounding.cluster.trouble import WorkerError, as_error, as_trouble
from image_grounding.errors import (
    BusyError,
    EndpointError,
    ImageGroundingError,
    RateLimitedError,
    SampleError,
)
from support.loopback import Loopback
from support.scripts import run_script


def every_error() -> list[ImageGroundingError]:
    """One of each class, with what it may hold."""
    answer: dict[str, Any] = {"status": 418, "remedy": "drink it", "server_text": "a teapot"}
    made: list[ImageGroundingError] = []
    for kind in vars(errors).values():
        if not (isinstance(kind, type) and issubclass(kind, ImageGroundingError)):
            continue
        if issubclass(kind, SampleError):
            made.append(kind("reason", "text", "excerpt", 3, {"outside": 2}))
        elif kind is errors.BudgetError:
            made.append(kind("text", limit="max_cost"))
        elif issubclass(kind, BusyError):
            made.append(kind("text", **answer, retry_after=2.5))
        elif issubclass(kind, EndpointError):
            made.append(kind("text", **answer))
        elif kind is errors.StoreError:
            made.append(kind("text", refused=True))
        else:
            made.append(kind("text"))
    return made


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
def test_errors_are_the_same_at_the_other_end(error: ImageGroundingError) -> None:
    arrived = as_error(pickle.loads(pickle.dumps(as_trouble(error))))
    assert type(arrived) is type(error)
    assert (str(arrived), vars(arrived)) == (str(error), vars(error))
    for name in ("reason", "transient", "fatal", "remedy", "exit_code", "retry_after"):
        assert getattr(arrived, name, None) == getattr(error, name, None)


def test_what_is_no_error_of_ours_is_a_bug_at_the_other_end() -> None:
    for error in (ValueError("odd"), KeyError("Exit"), MemoryError()):
        arrived = as_error(as_trouble(error))
        assert type(arrived) is WorkerError
        assert str(arrived) == f"{type(error).__name__}: {error}"


def test_a_copy_of_an_error_can_be_raised_and_counted() -> None:
    arrived = as_error(as_trouble(RateLimitedError("slow down", retry_after=1.0)))
    with pytest.raises(RateLimitedError, match="slow down") as caught:
        raise arrived
    caught.value.attempts = 4
    assert (caught.value.attempts, caught.value.retry_after) == (4, 1.0)


@pytest.mark.parametrize(
    "given", [("--ray-workers", "2"), ("--ray-address", "auto"), ("--ray-wait", "5")]
)
def test_its_options_belong_to_it(given: tuple[str, ...]) -> None:
    ran = run_script("run_pipeline.py", "--engine", "batch", *given)
    assert (ran.code, ran.json["exit_code"]) == (2, 2)
    assert "belong to --engine ray" in ran.err


def test_an_annotator_of_its_own_needs_no_workers(
    make_project: Callable[..., Project], server: Loopback
) -> None:
    ran = make_project(1).run(server, "--engine", "ray", "vlm.backend=local")
    assert (ran.code, ran.json["status"]) == (2, "error")
    assert "backend local asks none" in ran.json["error"]


def test_without_ray_it_says_what_to_install(
    make_project: Callable[..., Project], server: Loopback
) -> None:
    """Also where it is installed: a name that is None in sys.modules is no package."""
    project = make_project(1)
    hidden = project.folder / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text("import sys; sys.modules['ray'] = None\n")
    environment = {"PYTHONPATH": str(hidden)}
    ran = project.run(server, "--engine", "ray", **environment)
    assert (ran.code, ran.json["status"]) == (2, "error"), ran.err
    assert "--engine ray needs the extra ray; run setup_env.py --extras ray" in ran.json["error"]
    assert server.calls == []
