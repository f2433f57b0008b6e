# SPDX-License-Identifier: Apache-2.0
"""``status.py``: how the runs in results folders are going, seen from outside."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from image_grounding.batch.journal import jobs_in
from image_grounding.cli.common import print_json, reporting_errors
from image_grounding.run.remote import address_of, pull_again
from image_grounding.run.status import Outlook, statuses_of, total_of
from image_grounding.terminal import printable

_EVERY_S = 5.0


def status_tool(results: Sequence[Path], *, watch: bool, quiet: bool) -> None:
    """Say how the runs in results folders are going; with ``watch`` until none runs."""
    with reporting_errors():
        outlooks = [Outlook(path) for path in results]
        statuses = statuses_of(outlooks)
        while watch and any(status["running"] for status in statuses):
            _show(_overview(statuses), quiet=quiet)
            time.sleep(_EVERY_S)
            for path in results:
                pull_again(path)
            statuses = statuses_of(outlooks)
        runs = [
            {**status, "results_dir": address_of(path) or status["results_dir"],
             "jobs": jobs_in(path)}
            for path, status in zip(results, statuses, strict=True)
        ]  # fmt: skip
        for run in runs:
            where = f"{run['results_dir']}: " if len(runs) > 1 else ""
            _show(where + _sentence(run), quiet=quiet)
            for job in run["jobs"]:
                _show(where + _of_job(job), quiet=quiet)
        if len(runs) == 1:
            print_json({"exit_code": 0, **runs[0]})
            return
        _show(_overview(statuses), quiet=quiet)
        print_json({"exit_code": 0, "runs": runs, "total": total_of(statuses)})


def _show(line: str, *, quiet: bool) -> None:
    if not quiet:
        click.echo(printable(line), err=True)


def _of_job(job: Mapping[str, Any]) -> str:
    counts = f"{job['done']} of {job['requests']} done, {job['failed']} failed"
    why = f": {job['problem']}" if job["problem"] else ""
    return f"job {job['id'] or job['tag']}: {job['state']}, {counts} (since {job['since']}){why}"


def _overview(statuses: Sequence[Mapping[str, Any]]) -> str:
    """All in one line."""
    if len(statuses) == 1:
        return _sentence(statuses[0])
    total = total_of(statuses)
    parts = ["in all " + total["status"], *_figures(total, running=total["running"] > 0)]
    if unanswered := sum(_endpoint(status) not in ("", "answering") for status in statuses):
        parts.append(f"{unanswered} without answers just now")
    return "; ".join(parts)


def _sentence(status: Mapping[str, Any]) -> str:
    if status["pid"] is None:
        return str(status["status"])
    parts = [f"{status['status']} (pid {status['pid']} on {status['host']}, {status['since']})"]
    endpoint = _endpoint(status)
    if endpoint and not endpoint.startswith("waiting"):
        endpoint = f"endpoint {endpoint}"
    return "; ".join([*parts, *_figures(status, running=status["running"], endpoint=endpoint)])


def _endpoint(status: Mapping[str, Any]) -> str:
    """How it is with what a run asks; empty where none is at work, or nobody is asked."""
    return str((status["endpoint"] or {}).get("state", "")) if status["running"] else ""


def _figures(facts: Mapping[str, Any], *, running: bool, endpoint: str = "") -> list[str]:
    """What a run and a total have in common."""
    parts = [f"{facts['finished']} finished, {facts['failed']} failed, {facts['left']} left"]
    if running:
        parts.append(f"{facts['samples_a_second']:.1f}/s")
        if facts["seconds_left"] is not None:
            parts.append(f"about {facts['seconds_left']:.0f} s left")
        if endpoint:
            parts.append(endpoint)
    if facts["cost"] is not None:
        parts.append(f"cost {facts['cost']:g}")
    return parts
