# SPDX-License-Identifier: Apache-2.0
"""The command ``image-grounding``; each tool is also a script of its own in ``scripts/``."""

import click

from image_grounding import __version__
from image_grounding.cli.check import check_command
from image_grounding.cli.evaluate import evaluate_command
from image_grounding.cli.export import export_command
from image_grounding.cli.inspect import inspect_command
from image_grounding.cli.run import run_command
from image_grounding.cli.setup import setup_command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Phrase-grounded training data from (image, caption) pairs."""


main.add_command(setup_command, "setup")
main.add_command(check_command, "check")
main.add_command(run_command, "run")
main.add_command(inspect_command, "inspect")
main.add_command(export_command, "export")
main.add_command(evaluate_command, "evaluate")
