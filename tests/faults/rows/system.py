# SPDX-License-Identifier: Apache-2.0
"""Faults of the machine: disks, memory, descriptors, streams, folders, clocks."""

import os
import resource
import shutil
from functools import partial

from faults.fault import Fault, Inject, Outcome, goes_on, refuses
from faults.injections import at, both, given
from faults.stage import Stage

row = partial(Fault, "system")
ENDS = "the run ends in words; what is there stays whole"


def limit(kind: int, value: int) -> None:
    resource.setrlimit(kind, (value, value))


def limited(kind: int, value: int) -> Inject:
    """The process may take no more of something."""

    def inject(stage: Stage) -> None:
        stage.first = partial(limit, kind, value)

    return inject


def onto(path: str, *numbers: int) -> None:
    for number in numbers:
        os.dup2(os.open(path, os.O_WRONLY), number)


def closed(*numbers: int) -> None:
    for number in numbers:
        os.close(number)


def without_reader(*numbers: int) -> None:
    """The streams are pipes that nobody reads any more."""
    for number in numbers:
        reader, writer = os.pipe()
        os.dup2(writer, number)
        os.close(reader)
        os.close(writer)


def begins(act: partial[None]) -> Inject:
    def inject(stage: Stage) -> None:
        stage.first = act

    return inject


def folder_gone() -> None:
    here = os.getcwd()
    os.rmdir(here)


def step_folder_gone(stage: Stage) -> None:
    shutil.rmtree(stage.results / "step_1_grounding")


def results_gone(stage: Stage) -> None:
    shutil.rmtree(stage.results)


QUIET = Outcome(0, "every sample is annotated; nobody hears of it", reports=False)

# fmt: off
FAULTS = (
    row("a disk that takes no more than 100 bytes a file", limited(resource.RLIMIT_FSIZE, 100),
        Outcome(2, ENDS, "cannot write", None, reports=False)),
    row("a disk that is full once results are there", both(lambda stage: stage.finish(),
        limited(resource.RLIMIT_FSIZE, 900)), Outcome(2, ENDS, "cannot write", None)),
    row("10 open files at most", limited(resource.RLIMIT_NOFILE, 10), Outcome(2, ENDS,
        "Too many open files", None)),
    row("stdout on a full device", begins(partial(onto, "/dev/full", 1)), Outcome(2,
        "every sample is annotated; that it cannot be reported is an error",
        "cannot write to stdout", reports=False)),
    row("stderr on a full device", begins(partial(onto, "/dev/full", 2)), goes_on()),
    row("stdout is closed", begins(partial(closed, 1)), QUIET),
    row("stderr is closed", begins(partial(closed, 2)), goes_on()),
    row("stdin, stdout and stderr are closed", begins(partial(closed, 0, 1, 2)), QUIET),
    row("nobody reads stdout", begins(partial(without_reader, 1)), QUIET),
    row("nobody reads stderr", begins(partial(without_reader, 2)), goes_on()),
    row("the current folder is gone at the start", begins(partial(folder_gone)),
        refuses("the current folder is gone")),
    row("the current folder goes away in mid-run", at(1, lambda stage: (stage.folder /
        "here").rmdir()), goes_on()),
    row("no temporary folder", given(TMPDIR="/proc/nowhere"), goes_on()),
    row("no home", given(HOME="/proc/nowhere"), goes_on()),
    row("the locale C", given(LANG="C", LC_ALL="C"), goes_on()),
    row("a locale that is not there", given(LANG="tlh_KL.UTF-8", LC_ALL="tlh_KL.UTF-8"),
        goes_on()),
    row("a time zone that is none", given(TZ="Nowhere/Land"), goes_on()),
    row("a terminal of no width", given(COLUMNS="0", LINES="0", TERM="unknown"), goes_on()),
    row("results_dir is removed in mid-run", at(1, results_gone), Outcome(2, ENDS,
        "cannot write", None)),
    row("the folder of a step is removed in mid-run", at(1, step_folder_gone), Outcome(2, ENDS,
        "cannot write", None)),
)
