# SPDX-License-Identifier: Apache-2.0
"""The command ``image-grounding``; each tool is also a script of its own in ``scripts/``."""

from importlib import import_module

import click

from image_grounding import __version__
from image_grounding.cli.common import Tool, print_json
from image_grounding.errors import Exit

_TOOLS = (
    *("make-input", "setup", "check", "run", "status", "merge"),
    *("inspect", "export", "evaluate", "checkpoints", "limit-server"),
)


class _Tools(Tool, click.Group):
    """Loads a tool when it is asked for: each brings packages that the others do without."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The tools in the order of the work."""
        return list(_TOOLS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The tool of a name, or None where there is none."""
        if cmd_name not in _TOOLS:
            return None
        name = cmd_name.replace("-", "_")
        module = import_module(f"image_grounding.cli.{name}")
        command: click.Command = getattr(module, f"{name}_command")
        return command


@click.group(
    cls=_Tools,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__)
@click.pass_context
def main(ctx: click.Context) -> None:
    """Phrase-grounded training data from (image, caption) pairs."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        code = int(Exit.USAGE)
        error = f"no command given; there are {', '.join(_TOOLS)}"
        print_json({"status": "error", "exit_code": code, "error": error})
        ctx.exit(code)
