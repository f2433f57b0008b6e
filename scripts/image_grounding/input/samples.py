# SPDX-License-Identifier: Apache-2.0
"""Input lines to samples: one (image, caption) pair each, read as a stream."""

import hashlib
import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from json.encoder import encode_basestring_ascii
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from image_grounding.boxes.frames import Size
from image_grounding.errors import InputError, SampleError
from image_grounding.files import encodable, only_cr, strict_json
from image_grounding.input.ids import Occurrences
from image_grounding.input.input_file import InputFile
from image_grounding.input.shard import Shard
from image_grounding.resources import load_schema
from image_grounding.storage.address import (
    is_address,
    is_web,
    join,
    leaves,
    may_read,
    problem_with,
    shown,
)

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

MAX_LINE_BYTES = 16 * 1024 * 1024
_INTEGER_OR_NONE = (int, type(None))
_HALF = re.compile("[\ud800-\udfff]")
_DATA = re.compile(r"data:[^/]*/?[^/]*[;,]", re.IGNORECASE)
# A relative path that is written the same way once it is a Path.
_PLAIN_PATH = re.compile(r"[^/\\.\x00][^/\\\x00]*(?:/[^/\\.\x00][^/\\\x00]*)*")


@dataclass(frozen=True)
class Sample:
    """One line of the input.

    Attributes:
        line: number of the line, from 1.
        sample_id: unique for (image_path, caption), safe as a file name.
        occurrence: 1, or 2 and so on where the same pair stands in the input again.
        image: source of the image, where it is on this machine.
        caption: the caption, without characters that no encoding can carry.
        fields: the line as it was, every field of it.
        given: whether the line is a record that holds the results of earlier steps.
    """

    line: int
    sample_id: str
    occurrence: int
    image: str
    caption: str
    fields: Mapping[str, Any]
    given: bool = False

    @property
    def image_id(self) -> str | int:
        """The line's ``image_id``, or the file name without its ending."""
        given: str | int | float | None = self.fields.get("image_id")
        if given is None or given == "":
            return _stem(self.image)
        return int(given) if isinstance(given, float) else given  # 7.0 is 7 to the schema

    @property
    def image_path(self) -> str:
        """The image's path as the line gives it."""
        return str(self.fields["image_path"])


@dataclass(frozen=True)
class BadLine:
    """A line that is no sample, and why."""

    line: int
    error: SampleError
    image_path: str | None = None


def wrong_size(sample: Sample, size: Size) -> str | None:
    """What to say where the line's ``width`` or ``height`` is not that of the file.

    Args:
        sample: the line.
        size: true (width, height) of the upright image in pixels.
    """
    if "width" not in sample.fields and "height" not in sample.fields:
        return None
    given = [sample.fields.get(name) for name in ("width", "height")]
    if all(claimed in (None, true) for claimed, true in zip(given, size, strict=True)):
        return None
    claimed = "x".join("?" if side is None else str(side) for side in given)
    return f"line {sample.line}: {claimed} in the input, {size[0]}x{size[1]} in the file"


def make_sample_id(image_path: str, caption: str, *more: str) -> str:
    """A file-name-safe id that depends on nothing but its arguments.

    A readable part from the image's name, then 80 bits of a hash.
    """
    # As json.dumps writes the list, in a tenth of its time; escapes what UTF-8 cannot hold.
    text = ", ".join(map(encode_basestring_ascii, (image_path, caption, *more)))
    digest = hashlib.sha256(f"[{text}]".encode()).hexdigest()[:20]
    return f"{_readable(image_path)}-{digest}"


@lru_cache(maxsize=4096)
def _stem(source: str) -> str:
    return PurePath(shown(source) if is_address(source) else source).stem


@lru_cache(maxsize=4096)
def _readable(image_path: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", _stem(image_path)).strip("-")[:40] or "image"


class SampleReader:
    """Samples and bad lines of a JSONL file (``.gz`` too), in order, as a stream.

    Accepts a BOM, CRLF and blank lines. Whether an image can be opened is not looked at.

    Args:
        path: the file, or its address in a store.
        image_root: prefix of relative image paths, a folder or an address; without it they are
            looked for below the current folder, then beside the file.
        outside: whether images outside of a given ``image_root`` are taken.
        addresses: whether images are read at any address that a line names.
        identity: for records that hold the results of earlier steps: what of a record, beside
            image and caption, tells samples apart; see ``Step.identity``.
        shard: the part of the input that is wanted; None for all of it.
    """

    def __init__(
        self,
        path: Path | str,
        image_root: str = "",
        *,
        outside: bool = True,
        addresses: bool = False,
        identity: Callable[[Mapping[str, Any]], str] | None = None,
        shard: Shard | None = None,
    ) -> None:
        self.path = path
        self.shard = shard
        self.file = InputFile(path)
        self._folder = Path() if is_address(path) else Path(path).parent
        self.image_root = image_root
        self._remote = is_address(image_root)
        self._bound = bool(image_root) and not outside
        self._addresses = addresses
        self._identity = identity

    @property
    def is_of_records(self) -> bool:
        """Whether its lines are records that hold the results of earlier steps."""
        return self._identity is not None

    def __iter__(self) -> Iterator[Sample | BadLine]:
        """Read from the start; raises InputError where the file itself cannot be read."""
        seen = Occurrences()
        first_results: dict[int, int] = {}
        for number, raw in self._lines():
            fields: dict[str, Any] | None = None
            try:
                fields = _parse(raw, first=number == 1)
                if fields is not None and self._wanted(fields):
                    yield self._sample(number, fields, seen, first_results)
            except SampleError as error:
                if self.shard and not self.shard.holds_line(number):
                    continue
                named = (fields or {}).get("image_path")
                yield BadLine(number, error, named if isinstance(named, str) else None)

    def count(self) -> int:
        """How many lines there are, blank ones and those of other shards left out."""
        if self.shard:
            return sum(1 for _ in self)
        return self.count_all()

    def count_all(self) -> int:
        """How many lines there are in all shards, blank ones left out."""
        return sum(1 for _, raw in self._lines() if raw.strip())

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        number = 0
        try:
            with self.file.lines() as file:
                while raw := file.readline(MAX_LINE_BYTES + 1):
                    number += 1
                    rest = raw
                    while len(rest) > MAX_LINE_BYTES and not rest.endswith(b"\n"):
                        rest = file.readline(MAX_LINE_BYTES + 1)
                    yield number, raw
        except (OSError, EOFError, zlib.error) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"cannot read the input {self.path}: {reason}") from None

    def _wanted(self, fields: dict[str, Any]) -> bool:
        """Whether a line is in the shard; raises SampleError where it is no sample."""
        if self._identity and "caption" not in fields and "cleaned_caption" in fields:
            fields["caption"] = fields["cleaned_caption"]
        if problem := _violation(fields):
            raise SampleError("bad_line", problem)
        if problem := self._misplaced(fields["image_path"]):
            raise SampleError("bad_line", problem)
        return not self.shard or self.shard.holds(fields["image_path"], fields["caption"])

    def _sample(
        self,
        number: int,
        fields: dict[str, Any],
        seen: Occurrences,
        first_results: dict[int, int],
    ) -> Sample:
        sample_id = make_sample_id(fields["image_path"], fields["caption"])
        if self._identity:
            # Other tools' files may hold one pair on several lines with other expressions, and
            # so may ours, edited by hand.
            results = self._identity(fields)
            ours = fields.get("sample_id") == sample_id
            key = hash(results)
            if not ours or first_results.setdefault(_key(sample_id), key) != key:
                sample_id = make_sample_id(fields["image_path"], fields["caption"], results)
        return Sample(
            line=number,
            sample_id=sample_id,
            occurrence=seen.count(_key(sample_id)),
            image=locate_image(fields["image_path"], self._folder, self.image_root),
            caption=encodable(fields["caption"]),
            fields=fields,
            given=self.is_of_records,
        )

    def _misplaced(self, image_path: str) -> str | None:
        """Why an image is not read where its line says that it is; None where it is."""
        if ":" in image_path and is_address(image_path):
            named = f"image_path {shown(image_path)!r:.100} is an address"
            if problem := problem_with(image_path):
                return f"{named}; {problem}"
            allowed = may_read(image_path, self.image_root, anywhere=self._addresses)
            return None if allowed else f"{named}; data.allow_urls reads it"
        if not self._bound:
            return None
        if self._remote:
            inside = not image_path.startswith("/")
            inside &= not leaves(image_path, web=is_web(self.image_root))
        else:
            inside = is_below(image_path, self.image_root)
        if inside:
            return None
        named = f"image_path {image_path!r:.100}"
        return f"{named} is outside of data.image_root; data.allow_outside_root reads it"


def _key(sample_id: str) -> int:
    return int(sample_id[-16:], 16)


def _parse(raw: bytes, *, first: bool) -> dict[str, Any] | None:
    if len(raw) > MAX_LINE_BYTES:
        raise SampleError("bad_line", f"the line is over 16 MiB long{only_cr(raw)}")
    try:
        text = raw.decode("utf-8-sig" if first else "utf-8").strip()
        fields = strict_json(text) if text else None
    except UnicodeDecodeError as error:
        message = f"not UTF-8 at byte {error.start + 1} of the line"
        raise SampleError("bad_line", message) from None
    except (ValueError, RecursionError) as error:
        deep = isinstance(error, RecursionError)
        other = "nested too deep" if deep else "a number is too long"
        message = f"not JSON: {getattr(error, 'msg', other)}{only_cr(raw)}"
        raise SampleError("bad_line", message) from None
    if fields is not None and not isinstance(fields, dict):
        raise SampleError("bad_line", "not a JSON object")
    if fields is None and text:
        raise SampleError("bad_line", "not a JSON object")
    return fields


@cache
def _validator() -> "Draft202012Validator":
    from jsonschema import Draft202012Validator  # slow to import, and few lines need it

    return Draft202012Validator(load_schema("input_line"))


def _is_plainly_good(fields: dict[str, Any]) -> bool:
    """Whether a line is what the schema wants, at a glance; the schema decides about the others."""
    path, caption = fields.get("image_path"), fields.get("caption")
    return (
        type(path) is str
        and type(caption) is str
        and not path.isspace()
        and path != ""
        and "\x00" not in path
        and ":" not in path
        and (path.isascii() or not _HALF.search(path))
        # The schema's white space is narrower: what may be white to it alone is left to it.
        and any(char.isalnum() for char in caption)
        and type(fields.get("image_id", "")) in (str, int)
        and type(fields.get("width")) in _INTEGER_OR_NONE
        and type(fields.get("height")) in _INTEGER_OR_NONE
    )


def _violation(fields: dict[str, Any]) -> str | None:
    if _is_plainly_good(fields):
        return None
    for error in _validator().iter_errors(fields):
        name = str(error.path[0]) if error.path else ""
        match error.validator:
            case "required":
                return str(error.message)
            case "pattern" | "minLength":
                return f"{name} is empty"
            case _:
                allowed: Any = error.validator_value
                kinds = allowed if isinstance(allowed, str) else " or ".join(allowed)
                given = "null" if error.instance is None else type(error.instance).__name__
                return f"{name} must be {kinds}, not {given}"
    if not fields["image_path"].strip():
        return "image_path is empty"
    if "\x00" in fields["image_path"]:
        return "image_path holds a NUL character"
    if _HALF.search(fields["image_path"]):
        return "image_path holds half a character, as a file name that is no UTF-8; rename the file"
    if _DATA.match(fields["image_path"]):
        named = f"image_path {fields['image_path']!r:.100}"
        return f"{named} is an address; images are read from files alone"
    return None


def is_below(image_path: str, image_root: str) -> bool:
    """Whether an image is in the folder ``image_root``; a link in there may lead elsewhere."""
    if os.sep == "/" and _PLAIN_PATH.fullmatch(image_path):
        return True
    root, real = _real_root(image_root)
    for path in {image_path, image_path.replace("\\", "/")}:
        place = os.path.join(root, path)
        found = os.path.normpath(place)
        if ".." in PurePath(path).parts:  # behind a link it does not lead back
            found = os.path.realpath(place)
        if not found.startswith((root, real)):
            return False
    return True


@lru_cache(maxsize=16)
def _real_root(image_root: str) -> tuple[str, str]:
    """As it is named and as it is without links, each with a separator at its end."""
    root, real = os.path.abspath(image_root), os.path.realpath(image_root)
    return os.path.join(root, ""), os.path.join(real, "")


def locate_image(image_path: str, folder: Path, image_root: str, current: Path = Path()) -> str:
    """Where an image is: below the root, else the current folder, else ``folder``."""
    if is_address(image_path):
        return image_path
    if is_address(image_root):
        return image_path if image_path.startswith("/") else join(image_root, image_path)
    if image_root and os.sep == "/" and _PLAIN_PATH.fullmatch(image_path):
        return f"{_root(image_root)}{image_path}"  # as below, in a tenth of the time
    found = _locate(image_path, folder, image_root, current)
    if "\\" in image_path and not _exists(found):  # written on Windows
        as_here = _locate(image_path.replace("\\", "/"), folder, image_root, current)
        found = as_here if _exists(as_here) else found
    return str(found)


@lru_cache(maxsize=16)
def _root(image_root: str) -> str:
    return str(Path(image_root, "x"))[:-1]


def _locate(image_path: str, folder: Path, image_root: str, current: Path) -> Path:
    if image_root:
        return Path(image_root, image_path)
    path = current / image_path
    if not Path(image_path).is_absolute() and not _exists(path):
        beside = folder / image_path
        return beside if _exists(beside) else path
    return path


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False
