# SPDX-License-Identifier: Apache-2.0
"""Files: atomic writes, JSONL that may be compressed, one run at a time in a folder."""

import contextlib
import errno
import gzip
import json
import math
import os
import re
import shutil
import stat
import zlib
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path
from typing import IO, Any

import filelock

from image_grounding.errors import InputError, OutputError

# Made once, as json.dumps would for each value; nothing that is written holds itself.
_ENCODE = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False).encode
# Of a whole number that can still be reckoned with as a float.
_MOST_DIGITS = 300
_SURROGATE = re.compile("[\ud800-\udfff]")
# What acts on a terminal or on a reader of lines, or is half a character.
_UNSAFE = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
# What a text file or XML cannot hold as it is.
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Strict JSON text; unpaired surrogates, which UTF-8 cannot hold, stay escaped."""
    if indent is None:
        text = _ENCODE(value)
    else:
        text = json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)
    if _SURROGATE.search(text):
        text = json.dumps(value, ensure_ascii=True, indent=indent, allow_nan=False)
    return text


def clean_json(value: Any, *, indent: int | None = None) -> str:
    """JSON for users' files and streams: any reader takes it, and nothing in it acts on one.

    Controls stay, escaped; half of a surrogate pair, which is no text, becomes U+FFFD.
    """
    text = (
        _ENCODE(value)
        if indent is None
        else json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)
    )
    return _UNSAFE.sub(_escaped, text) if _UNSAFE.search(text) else text


def _escaped(found: re.Match[str]) -> str:
    code = ord(found.group())
    return "\ufffd" if 0xD800 <= code <= 0xDFFF else f"\\u{code:04x}"


def encodable(text: str) -> str:
    """``text`` with pairs of surrogates joined and halves of one replaced by U+FFFD."""
    if _SURROGATE.search(text):
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def clean_text(text: str) -> str:
    """``text`` for files that hold it as it is: U+FFFD in the place of controls and half pairs."""
    return _NO_TEXT.sub("\ufffd", text)


def strict_json(text: str) -> Any:
    """The value of JSON text; numbers that could be read but not be written again are none.

    Raises:
        ValueError: not JSON, or a number is NaN, too large or too long.
    """
    return _STRICT.decode(text)


def _no_constant(name: str) -> None:
    raise json.JSONDecodeError(f"{name} is no JSON number", name, 0)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise json.JSONDecodeError("a number is too large", text, 0)
    return number


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError("a number is too long")
    return int(text)


_STRICT = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite, parse_int=_whole)


def write_atomic(path: Path | str, text: str) -> None:
    """Write ``path`` whole or not at all, even when killed.

    Raises:
        OutputError: no space, no permission, or the folder is gone.
    """
    with atomic_writer(path) as file:
        file.write(text)


@contextlib.contextmanager
def atomic_writer(path: Path | str) -> Iterator[IO[str]]:
    """A text file that takes its name only when the block ends well.

    Raises:
        OutputError: as for ``write_atomic``; the old file, if any, is untouched.
    """
    temporary = temporary_of(Path(path))
    try:
        with open(temporary, "w", encoding="utf-8", newline="\n") as file:
            yield file
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
        raise


def temporary_of(path: Path) -> Path:
    """Where what is to be ``path`` is written first."""
    return path.with_name(f".{path.name}.tmp")


def copy_atomic(source: Path, path: Path) -> None:
    """Copy a file, whole or not at all, into a folder that is made where it is not there.

    Raises:
        OutputError: as for ``write_atomic``, or ``source`` cannot be read.
    """
    temporary = temporary_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, temporary)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def require_file(path: Path, *, once: bool = False) -> None:
    """See that reading ``path`` ends, and again and again gives the same.

    Args:
        path: what is to be read.
        once: it is read once, which a pipe allows.

    Raises:
        OSError: there is nothing, or it is a pipe, a terminal or a device.
    """
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or (once and stat.S_ISFIFO(mode))):
        what = "a pipe" if stat.S_ISFIFO(mode) else "a device"
        raise OSError(errno.ESPIPE, f"it is {what}; save it to a file first", str(path))


@contextlib.contextmanager
def open_lines(path: Path) -> Iterator[BufferedIOBase]:
    """A JSONL file as a stream of byte lines; ``.gz`` is unpacked on the way."""
    require_file(path)
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        yield file


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSONL file with the number of their line, from 1; blank lines are none.

    Raises:
        InputError: the file cannot be read, a ``.gz`` is cut, or a line is no JSON object.
    """
    number = 0
    try:
        with open_lines(path) as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, _object(path, number, line)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read {path} after line {number}: {reason}") from None


def only_cr(line: bytes) -> str:
    """What to add to a complaint about a line that is a whole file of an old Mac."""
    if b"\r" not in line.rstrip() or line.endswith(b"\n"):
        return ""
    return "; if its lines end in CR alone, convert it: tr '\\r' '\\n'"


def _object(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        fields = strict_json(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path}, line {number}: not JSON Lines ({error}){only_cr(line)}"
        ) from None
    if not isinstance(fields, dict):
        raise InputError(f"{path}, line {number}: not a JSON object")
    return fields


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process; the system lets go of it when the process dies.

    Raises:
        OutputError: another run is at work in it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / ".lock", timeout=0)
        lock.acquire()
        held = _hold(folder)
    except filelock.Timeout:
        raise OutputError(
            f"another run is writing to {folder}; wait for it or choose another results_dir"
        ) from None
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()
        if held is not None:
            os.close(held)


def _hold(folder: Path) -> int | None:
    """Lock the folder itself, as somebody may remove the lock file; None where that is impossible.

    Raises:
        filelock.Timeout: another process holds it.
    """
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):  # on Windows there is no such thing
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise filelock.Timeout(str(folder)) from None
    except OSError:  # as on some file systems of a network
        os.close(descriptor)
        return None
    return descriptor
