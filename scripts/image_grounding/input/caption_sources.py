# SPDX-License-Identifier: Apache-2.0
"""Images and captions in the forms that people have, as lines of the input.

A folder of images with a text file of the same name beside each; CSV or TSV with a column of
images and one of captions; COCO captions JSON.
"""

import csv
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from image_grounding.errors import InputError
from image_grounding.files import require_file
from image_grounding.first_few import FirstFew

_IMAGES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".ppm"}
_TABLES = {".csv", ".tsv", ".txt"}
_IMAGE_COLUMNS = (
    *("image_path", "image", "file_name", "filename", "image_name", "image_file", "file", "path"),
    *("img", "url"),
)
_CAPTION_COLUMNS = ("caption", "captions", "text", "description", "sentence", "comment", "prompt")
_LONGEST_CELL = 10_000_000


@dataclass
class CaptionedImages:
    """The pairs of image and caption that a source holds.

    Attributes:
        root: the folder that image paths start from.
        lines: of the input: ``image_path``, ``caption`` and what else the source says.
        left: what has no partner, by reason.
    """

    root: Path
    lines: list[dict[str, Any]] = field(default_factory=list)
    left: defaultdict[str, FirstFew] = field(default_factory=lambda: defaultdict(FirstFew))

    def add(self, image_path: str, caption: str, more: Mapping[str, Any], where: str) -> None:
        """Keep a pair, or note what it lacks."""
        caption = " ".join(caption.split())
        if not caption:
            self.left["image_without_caption"].add(image_path)
        elif not image_path or "\x00" in image_path:
            self.left["caption_without_image"].add(where)
        elif not os.path.isfile(self.root / image_path):
            self.left["caption_without_image"].add(f"{where}: {image_path}")
        else:
            self.lines.append({"image_path": image_path, "caption": caption, **more})


def read_captions(
    source: Path, root: Path | None, columns: tuple[str | None, str | None], *, by_line: bool
) -> CaptionedImages:
    """The pairs of a source.

    Args:
        source: a folder, a CSV or TSV file, or a COCO captions file.
        root: the folder of the images; None for the source, or the folder that it is in.
        columns: names of the image's and the caption's column; None to find them.
        by_line: of a folder: every line of a text file is a caption of its own.

    Raises:
        InputError: the source is none of these, or cannot be read.
    """
    found = CaptionedImages(root or (source if source.is_dir() else source.parent))
    try:
        require_file(source)
        if source.is_dir():
            _read_folder(source, found, by_line)
        elif source.suffix.lower() in _TABLES:
            _read_table(source, found, columns)
        elif source.suffix.lower() == ".json":
            _read_coco(source, found)
        else:
            raise InputError(f"{source} is no folder and no .csv, .tsv, .txt or .json file")
    except OSError as error:
        raise InputError(f"cannot read {source}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{source} is not UTF-8 text") from None
    return found


def _read_folder(source: Path, found: CaptionedImages, by_line: bool) -> None:
    for folder, below, names in os.walk(source):
        below[:] = sorted(name for name in below if not name.startswith("."))
        here = Path(folder)
        files = sorted(name for name in names if not name.startswith("."))
        texts = {name for name in files if name.lower().endswith(".txt")}
        used = set()
        for name in files:
            if Path(name).suffix.lower() not in _IMAGES:
                continue
            image = os.path.relpath(here / name, found.root)
            partner = next((text for text in _partners(name) if text in texts), None)
            if partner is None:
                found.left["image_without_caption"].add(image)
                continue
            used.add(partner)
            try:
                require_file(here / partner)
                text = (here / partner).read_text(encoding="utf-8-sig")
            except (OSError, UnicodeDecodeError):
                found.left["unreadable_text"].add(os.path.relpath(here / partner, found.root))
                continue
            captions = [line for line in text.splitlines() if line.strip()] if by_line else [text]
            for caption in captions or [""]:
                found.add(Path(image).as_posix(), caption, {}, partner)
        for name in sorted(texts - used):
            found.left["caption_without_image"].add(os.path.relpath(here / name, found.root))


def _partners(image: str) -> Iterator[str]:
    stem = os.path.splitext(image)[0]
    yield from (f"{name}{end}" for name in (stem, image) for end in (".txt", ".TXT"))


def _read_table(
    source: Path, found: CaptionedImages, columns: tuple[str | None, str | None]
) -> None:
    csv.field_size_limit(_LONGEST_CELL)
    with source.open(encoding="utf-8-sig", newline="") as file:
        head = file.readline()
        file.seek(0)
        between = max("\t|;,", key=head.count)
        rows = csv.DictReader(file, delimiter=between, skipinitialspace=True, restkey="")
        try:
            names = [name.strip() for name in rows.fieldnames or ()]
            rows.fieldnames = names
            image = _column(names, columns[0], _IMAGE_COLUMNS, "--image-column")
            caption = _column(names, columns[1], _CAPTION_COLUMNS, "--caption-column")
            for row in rows:
                more = {
                    name: int(value) if name in ("width", "height") else value
                    for name, value in row.items()
                    if name and value and name not in (image, caption, "image_path", "caption")
                    and (name not in ("width", "height") or value.isdecimal())
                }  # fmt: skip
                where = f"line {rows.line_num}"
                found.add((row[image] or "").strip(), row[caption] or "", more, where)
        except csv.Error as error:
            raise InputError(f"{source}, line {rows.line_num}: not CSV ({error})") from None


def _column(names: Sequence[str], given: str | None, usual: Sequence[str], flag: str) -> str:
    by_lower = {name.lower(): name for name in reversed(names)}
    for wanted in [given.lower()] if given else usual:
        if wanted in by_lower:
            return by_lower[wanted]
    there = ", ".join(name for name in names if name) or "nothing"
    raise InputError(f"{flag} must name a column; there are {there}")


def _read_coco(source: Path, found: CaptionedImages) -> None:
    try:
        content = json.loads(source.read_bytes())
        images = {image["id"]: image for image in content["images"]}
        captions = [
            (key := annotation["image_id"], str(annotation["caption"]), images.get(key, {}))
            for annotation in content["annotations"]
        ]
        named = {key: str(image["file_name"]) for key, image in images.items()}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(
            f"{source} is no COCO captions file: images with id and file_name, annotations with "
            "image_id and caption"
        ) from None
    for key, caption, image in captions:
        more = {name: image[name] for name in ("width", "height") if type(image.get(name)) is int}
        found.add(named.get(key, ""), caption, more, f"image_id {key}")
    captioned = {key for key, *_ in captions}
    for key, name in named.items():
        if key not in captioned:
            found.left["image_without_caption"].add(name)
