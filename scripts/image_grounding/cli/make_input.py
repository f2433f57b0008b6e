# SPDX-License-Identifier: Apache-2.0
"""``make_input.py``: images and captions in another form to the input JSONL."""

import sys
from pathlib import Path

import click

from image_grounding.cli.common import CONTEXT, Tool, print_json, reporting_errors
from image_grounding.errors import Exit, InputError, OutputError
from image_grounding.files import atomic_writer, to_json
from image_grounding.input.caption_sources import CaptionedImages, read_captions
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
        found = read_captions(source, image_root, (image_column, caption_column), by_line=by_line)
        if not found.lines:
            raise InputError(f"{source} holds no pair of image and caption: {_left_out(found)}")
        with atomic_writer(output) as file:
            file.writelines(to_json(line) + "\n" for line in found.lines)
        code = Exit.SOME_FAILED if found.left else Exit.DONE
        images = len({line["image_path"] for line in found.lines})
        if not quiet:
            text = f"{len(found.lines)} lines of {images} images in {output}"
            text += f"; left out: {_left_out(found)}" if found.left else ""
            click.echo(printable(text), err=True)
        print_json(
            {
                "exit_code": int(code),
                "output": str(output),
                "image_root": str(found.root),
                "lines": len(found.lines),
                "images": images,
                "left_out": {reason: vars(left) for reason, left in found.left.items()},
            }
        )
    sys.exit(code)


def _left_out(found: CaptionedImages) -> str:
    parts = [
        f"{left.total} x {reason.replace('_', ' ')}, such as {left.first[0]}"
        for reason, left in found.left.items()
    ]
    if not parts:
        return f"nothing was found below {found.root}"
    if "caption_without_image" in found.left:
        parts.append(
            f"images were looked for below {found.root}; --image-root names another folder"
        )
    return "; ".join(parts)
