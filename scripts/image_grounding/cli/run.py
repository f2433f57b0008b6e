# SPDX-License-Identifier: Apache-2.0
"""``run_pipeline.py``: run the two steps."""

from pathlib import Path
from typing import Any

import click

from image_grounding.cli.common import CONTEXT, Tool

_EPILOG = """\b
Examples:
  run_pipeline.py -e spec.yaml
  run_pipeline.py -e spec.yaml results_dir=out image_grounding.workflow.max_workers=16
  run_pipeline.py -e specs/local.yaml data.input_jsonl=captions.jsonl results_dir=out
  run_pipeline.py -e spec.yaml workflow.steps='["0"]'
  run_pipeline.py -e spec.yaml --dry-run
  run_pipeline.py -e spec.yaml --dry-run --check-images all
  run_pipeline.py -e spec.yaml --sample 10 --seed 1
  run_pipeline.py -e spec.yaml --shard 3/8 results_dir=results/shard-3
  run_pipeline.py -e spec.yaml --engine ray --ray-workers 8
  run_pipeline.py -e spec.yaml --engine ray --ray-address auto
  run_pipeline.py -e spec.yaml --engine batch
  run_pipeline.py -e spec.yaml --engine batch --wait
  run_pipeline.py -e spec.yaml --engine batch --cancel

\b
Exit codes: 0 done; 2 usage, spec or input; 3 finished, some samples failed;
4 endpoint unusable; 5 batch jobs are under way, the same command collects them;
130 interrupted; 1 a bug.
With --dry-run: 0 every line can be used; 2 none can; 3 some cannot.
"""


@click.command(cls=Tool, context_settings=CONTEXT, epilog=_EPILOG)
@click.option(
    "-e", "--spec", "spec_file", type=click.Path(path_type=Path), help="The spec, a YAML file."
)
@click.option(
    "--dry-run",
    "dry",
    is_flag=True,
    help="Check spec and input, say what would be asked; ask and write nothing.",
)
@click.option(
    "--check-images",
    "decode",
    default="1000",
    show_default=True,
    metavar="N|all",
    help="Of --dry-run: decode so many images whole; of the others the headers are read.",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="A pilot: the first N samples.")
@click.option(
    "--sample", type=click.IntRange(1), metavar="N", help="A pilot: N samples drawn at random."
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Of --sample: another seed, others."
)
@click.option(
    "--shard", metavar="I/N", help="Only the I-th of N parts of the input, I from 1; see merge.py."
)
@click.option(
    "--engine",
    type=click.Choice(["online", "ray", "batch", "batch-files"]),
    default="online",
    show_default=True,
    help="How questions are asked: at once; the same by workers of Ray; by the provider's batch "
    "queue; in request files for vllm run-batch.",
)
@click.option(
    "--ray-address",
    metavar="ADDRESS",
    help="Of ray: a cluster that is there, host:port or auto; else RAY_ADDRESS, else this machine.",
)
@click.option(
    "--ray-workers",
    type=click.IntRange(1, 10_000),
    metavar="N",
    help="Of ray: so many workers, of one CPU each; else one for each CPU of the cluster.",
)
@click.option(
    "--ray-wait",
    "ray_wait_s",
    type=click.FloatRange(0.1, 86400),
    metavar="S",
    help="Of ray: the run ends when there was no worker for so many seconds (60).",
)
@click.option("--wait", is_flag=True, help="Of a batch: stay until all jobs are collected.")
@click.option(
    "--poll-seconds",
    "poll_s",
    type=click.FloatRange(0.01, 86400),
    default=60.0,
    show_default=True,
    metavar="S",
    help="Of --wait: look at the jobs so often.",
)
@click.option(
    "--job-requests",
    type=click.IntRange(1),
    metavar="N",
    help="Of a batch: at most N requests a job, if that is less than the queue's own limit.",
)
@click.option(
    "--cancel",
    is_flag=True,
    help="Of a batch: cancel its jobs, keep what they have answered, and end.",
)
@click.option("--quiet", is_flag=True, help="Only the JSON object on stdout.")
@click.option(
    "--table", type=click.IntRange(0), default=0, metavar="N",
    help="Also show the first N records as a table.",
)  # fmt: skip
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
def run_command(**options: Any) -> None:
    """Extract referring expressions from captions and ground them in their images.

    Finished samples are kept: the same command again asks only for what is missing. A JSON
    summary goes to stdout, progress to stderr, results to results_dir.
    """
    from image_grounding.cli.work.run import run_tool

    run_tool(**options)
