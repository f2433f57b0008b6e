# SPDX-License-Identifier: Apache-2.0
"""``check_endpoint.py``: is an endpoint fit for the work, and if not, what to do next."""

import asyncio
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from image_grounding.cli.common import print_json, reporting_errors
from image_grounding.environment import extra_needed
from image_grounding.errors import Exit
from image_grounding.health import CheckStep, CheckUp, Status, check_up
from image_grounding.spec import Spec, load_spec
from image_grounding.spec.capabilities import capabilities_of
from image_grounding.terminal import printable

_MARKS = {Status.OK: "✓", Status.WARN: "!", Status.FAIL: "✗", Status.SKIPPED: "-"}
# A check-up reads no data and writes no results.
_NOT_NEEDED = ("results_dir=.", "data.input_jsonl=none")


def check_tool(
    spec_file: Path | None,
    backend: str | None,
    base_url: str | None,
    model: str | None,
    api_key_env: str | None,
    wait: float,
    samples: int,
    price_in: float | None,
    price_out: float | None,
    save_probe: Path | None,
    as_json: bool,
    quiet: bool,
    overrides: tuple[str, ...],
) -> None:
    """Check an endpoint, from its name to the boxes that its model draws."""
    with reporting_errors():
        flags = _flags(backend, base_url, model, api_key_env, price_in, price_out)
        spec = load_spec(spec_file, [*overrides, *flags, *_NOT_NEEDED])
        for note in () if quiet else spec.notes:
            _say(note)
        found = _check(spec, quiet, samples, wait, save_probe)
        if as_json or quiet or not sys.stdout.isatty():
            print_json(_plain(found))
    sys.exit(_code(found))


def check_spec(spec_file: Path, *, quiet: bool) -> dict[str, Any]:
    """Check the endpoint of a spec, with its steps on stderr; what ``--json`` would print."""
    return _plain(_check(load_spec(spec_file, _NOT_NEEDED), quiet))


def _check(
    spec: Spec, quiet: bool, samples: int = 1000, wait: float = 0.0, save_probe: Path | None = None
) -> CheckUp:
    if not capabilities_of(spec.vlm.backend).needs_endpoint:
        found = _local()
    else:
        show = (lambda step: None) if quiet else _show_step
        say = (lambda text: None) if quiet else _say
        found = asyncio.run(
            check_up(spec, samples=samples, wait=wait, save_probe=save_probe, say=say, show=show)
        )
    if not quiet:
        _show_rest(found)
    return found


def _code(found: CheckUp) -> Exit:
    return Exit.DONE if found.usable else Exit.ENDPOINT


def _flags(
    backend: str | None,
    base_url: str | None,
    model: str | None,
    api_key_env: str | None,
    price_in: float | None,
    price_out: float | None,
) -> list[str]:
    """The flags as overrides of the spec."""
    backend = backend or ("openai" if base_url else None)
    sections = [backend] if backend else ["gemini", "openai"]
    flags = [f"vlm.backend={backend}"] if backend else []
    for section in sections:
        if not capabilities_of(section).needs_endpoint:
            continue
        if base_url:
            flags.append(f"vlm.{section}.base_url={base_url}")
        if model:
            name = "model" if section == "gemini" else "model_name"
            flags.append(f"vlm.{section}.{name}={model}")
        if api_key_env:
            flags.append(f"vlm.{section}.api_key=${{oc.env:{api_key_env}}}")
    for name, price in (("input", price_in), ("output", price_out)):
        if price is not None:
            flags.append(f"vlm.prices.{name}={price}")
    return flags


def _local() -> CheckUp:
    try:
        import onnxruntime  # noqa: F401
    except ImportError:
        remedy = extra_needed("the embedded annotator", "local")
        step = CheckStep("configuration", Status.FAIL, "onnxruntime is not installed", remedy)
        return CheckUp(False, (step,))
    message = "the embedded annotator needs no endpoint"
    return CheckUp(True, (CheckStep("configuration", Status.OK, message),))


def _say(text: str) -> None:
    click.echo(printable(text), err=True)


def _show_step(step: CheckStep) -> None:
    _say(f"{_MARKS[step.status]} {step.name}: {step.message}")
    if step.remedy and step.status in (Status.WARN, Status.FAIL):
        _say(f"  next: {step.remedy}")


def _show_rest(found: CheckUp) -> None:
    console = Console(stderr=True)
    if found.conventions:
        table = Table("box convention", "mean IoU")
        for name, iou in found.conventions.items():
            table.add_row(name, f"{iou:.3f}")
        console.print(table)
    if found.takes:
        table = Table("what this endpoint takes", "")
        for name, taken in found.takes.items():
            table.add_row(escape(name), "yes" if taken else "no")
        console.print(table)
    if found.estimate:
        figures = found.estimate
        cost = "unknown" if figures["cost"] is None else f"{figures['cost']:.2f}"
        console.print(
            f"{figures['samples']} samples: {figures['requests']} requests, "
            f"{figures['input_tokens'] or '?'} + {figures['output_tokens'] or '?'} tokens, about "
            f"{figures['seconds']:.0f} s with {figures['max_workers']} at once, cost {cost}",
            highlight=False,
        )
    console.print("usable" if found.usable else "not usable")


def _plain(found: CheckUp) -> dict[str, Any]:
    problem = next((step for step in found.steps if step.status is Status.FAIL), None)
    return {
        "exit_code": int(_code(found)),
        "usable": found.usable,
        **({"error": problem.message, "remedy": problem.remedy} if problem else {}),
        "steps": [asdict(step) for step in found.steps],
        "takes": dict(found.takes),
        "conventions": {name: round(iou, 4) for name, iou in found.conventions.items()},
        "estimate": found.estimate,
    }
