# SPDX-License-Identifier: Apache-2.0
"""``check_endpoint.py``: is an endpoint fit for the work, and if not, what to do next."""

from pathlib import Path
from typing import Any

import click

from image_grounding.cli.common import CONTEXT, Tool

_EPILOG = """\b
Examples:
  check_endpoint.py -e spec.yaml
  check_endpoint.py -e spec.yaml --wait 600 --samples 100000 --price-in 0.1 --price-out 0.4
  check_endpoint.py --base-url http://localhost:8000/v1 --model Qwen/Qwen3-VL-8B-Instruct
  check_endpoint.py --backend gemini --model gemini-3.5-flash-lite --save-probe probes

\b
Exit codes: 0 usable; 2 usage or spec; 4 not usable; 130 interrupted; 1 a bug.
"""


@click.command(cls=Tool, context_settings=CONTEXT, epilog=_EPILOG)
@click.option(
    "-e", "--spec", "spec_file", type=click.Path(path_type=Path), help="The spec, a YAML file."
)
@click.option("--backend", type=click.Choice(["gemini", "openai", "local"]), help="Which SDK.")
@click.option("--base-url", metavar="URL", help="The API's address; implies --backend openai.")
@click.option("--model", metavar="NAME", help="The model's name.")
@click.option("--api-key-env", metavar="NAME", help="The environment variable that holds the key.")
@click.option(
    "--wait",
    type=click.FloatRange(0),
    default=0.0,
    metavar="SECONDS",
    help="Wait so long for a server that is still loading.",
)
@click.option(
    "--samples",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="How many samples the estimate is for.",
)
@click.option("--price-in", type=click.FloatRange(0), help="Per million input tokens.")
@click.option("--price-out", type=click.FloatRange(0), help="Per million output tokens.")
@click.option(
    "--save-probe",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Save the probe pictures with the model's boxes drawn on them.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="A JSON object on stdout (default off a terminal)."
)
@click.option("--quiet", is_flag=True, help="Only the JSON object on stdout.")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
def check_command(**options: Any) -> None:
    """Check an endpoint, from its name to the boxes that its model draws.

    Asks about ten small requests. Steps and tables go to stderr.
    """
    from image_grounding.cli.work.check import check_tool

    check_tool(**options)
