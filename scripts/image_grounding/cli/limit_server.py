# SPDX-License-Identifier: Apache-2.0
"""``limit_server.py``: one quota for runs on several machines."""

from pathlib import Path

import click

from image_grounding.cli.common import CONTEXT, Tool

_EPILOG = """\b
Examples:
  limit_server.py
  limit_server.py --host 0.0.0.0 --port 8471 --state limit_state.json
  run_pipeline.py -e spec.yaml workflow.requests_per_minute=2400 \\
      workflow.shared_limit=http://host:8471
  curl http://host:8471/status

\b
Exit codes: 0 ended by SIGTERM or Ctrl-C; 2 usage, the address cannot be listened on, or the state
cannot be used; 1 a bug.
"""


@click.command(cls=Tool, context_settings=CONTEXT, epilog=_EPILOG)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where it listens.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8471, show_default=True, help="0: a free one."
)
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Keeps the limits on which runs agreed over a restart.",
)
def limit_server_command(host: str, port: int, state: Path | None) -> None:
    """Give out a quota of requests or tokens a minute to runs on several machines.

    The runs name its address in workflow.shared_limit, and all the same limits. A JSON object with
    "url" goes to stdout once it listens. Killed and started again it gives nothing out twice, with
    or without a state. Where the environment variable IMAGE_GROUNDING_LIMIT_TOKEN is set, here and
    for the runs, nobody else is served.
    """
    from image_grounding.cli.work.limit_server import limit_server_tool

    limit_server_tool(host, port, state)
