# SPDX-License-Identifier: Apache-2.0
"""``make_input.py``: images and captions in another form to the input JSONL."""

import sys
from pathlib import Path

import click

from image_grounding.cli.common import CONTEXT, Tool, print_json, reporting_errors
from image_grounding.errors import Exit, InputError, OutputError
from image_grounding.files import atomic_writer, to_json
from image_grounding.input.pairs import Pairs, read_pairs
from image_grounding.terminal import printable

_EPILOG = """\b
Examples:
  make_input.py photos -o captions.jsonl
  make_input.py captions.csv --image-root photos -o captions.jsonl
  make_input.py captions_val2017.json --image-root val2017 -o captions.jsonl

\b
Exit codes: 0 done; 2 usage, or nothing to write; 3 written, but something had no partner;
130 interrupted; 1 a bug.
"""


@click.command(cls=Tool, context_settings=CONTEXT, epilog=_EPILOG)
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="The JSONL to write."
)
@click.option(
    "--image-root",
    type=click.Path(path_type=Path),
    help="Folder of the images; left out: SOURCE, or the folder it is in.",
)
@click.option("--image-column", metavar="NAME", help="Of a table; left out, the usual names.")
@click.option("--caption-column", metavar="NAME", help="Of a table; left out, the usual names.")
@click.option("--by-line", is_flag=True, help="Of a folder: each line of a text is a caption.")
@click.option("--overwrite", is_flag=True, help="Replace the output where it exists.")
@click.option("--quiet", is_flag=True, help="Only the JSON object on stdout.")
def make_input_command(
    source: Path,
    output: Path,
    image_root: Path | None,
    image_column: str | None,
    caption_column: str | None,
    by_line: bool,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Write the input JSONL from images and captions that are there in another form.

    SOURCE is a folder of images with a .txt of the same name beside each; a CSV or TSV file with
    a header; or COCO captions JSON. Other columns of a table pass through. What has no partner is
    left out and counted.
    """
    with reporting_errors():
        if output.exists() and not overwrite:
            raise OutputError(f"{output} exists; --overwrite replaces it")
        pairs = read_pairs(source, image_root, (image_column, caption_column), by_line=by_line)
        if not pairs.lines:
            raise InputError(f"{source} holds no pair of image and caption: {_told(pairs)}")
        with atomic_writer(output) as file:
            file.writelines(to_json(line) + "\n" for line in pairs.lines)
        code = Exit.SOME_FAILED if pairs.left else Exit.DONE
        images = len({line["image_path"] for line in pairs.lines})
        if not quiet:
            told = f"{len(pairs.lines)} lines of {images} images in {output}"
            told += f"; left out: {_told(pairs)}" if pairs.left else ""
            click.echo(printable(told), err=True)
        print_json(
            {
                "exit_code": int(code),
                "output": str(output),
                "image_root": str(pairs.root),
                "lines": len(pairs.lines),
                "images": images,
                "left_out": {reason: vars(left) for reason, left in pairs.left.items()},
            }
        )
    sys.exit(code)


def _told(pairs: Pairs) -> str:
    return "; ".join(
        f"{left.total} x {reason.replace('_', ' ')}, such as {left.first[0]}"
        for reason, left in pairs.left.items()
    ) or f"nothing was found below {pairs.root}"  # fmt: skip
