# SPDX-License-Identifier: Apache-2.0
"""Faults of picture files."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PIL import Image

from faults.fault import Fault, Inject, Outcome, fails, goes_on
from faults.injections import at, fifo, line, picture
from faults.stage import VICTIM, Stage, good_picture
from support.scenes import make_scene

row = partial(Fault, "picture")
unreadable = partial(fails, "image_unreadable")
CHANGED = Outcome(
    3, "the sample fails as `changed_meanwhile`, or is asked for as it is now", failed=None
)


def encoded(kind: str, mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    make_scene((64, 48), 1, 2).draw().convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def saved(kind: str, mode: str = "RGB", **options: object) -> Inject:
    """A good picture of another kind."""
    return picture(lambda path: path.write_bytes(encoded(kind, mode, **options)))


def cut(kind: str, end: int) -> Inject:
    return picture(lambda path: path.write_bytes(encoded(kind)[:end]))


def flipped(offset: int) -> Inject:
    """A PNG with one wrong byte, counted from its end."""

    def make(path: Path) -> None:
        data = bytearray(good_picture(VICTIM))
        data[offset] ^= 0xFF
        path.write_bytes(data)

    return picture(make)


def chunk(name: bytes, data: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(name + data))
    return struct.pack(">I", len(data)) + name + data + check


def header_of(width: int, height: int) -> bytes:
    """A PNG that is nothing but its size."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def with_chunk(name: bytes, data: Callable[[], bytes]) -> Inject:
    """A good PNG with one more chunk behind its header."""

    def make(path: Path) -> None:
        png = good_picture(VICTIM)
        path.write_bytes(png[:33] + chunk(name, data()) + png[33:])

    return picture(make)


def bomb() -> bytes:
    """20 MB of a profile or a text, packed to 20 KB."""
    return b"x\0\0" + zlib.compress(bytes(20_000_000))


def small(width: int, height: int) -> Inject:
    return picture(lambda path: Image.new("RGB", (width, height), "red").save(path))


def sparse(size: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(good_picture(VICTIM))
        os.truncate(path, size)

    return make


def named(name: str) -> Inject:
    """A good picture whose file has this name."""

    def inject(stage: Stage) -> None:
        (stage.pictures / name).write_bytes(good_picture(VICTIM))
        line({"image_path": name})(stage)

    return inject


def other(stage: Stage) -> None:
    make_scene((64, 48), 9, 2).save(stage.pictures / VICTIM)


def gone(stage: Stage) -> None:
    (stage.pictures / VICTIM).unlink()


EXIF = Image.Exif()
EXIF[0x0112] = 6
ODD_NAMES = {
    "spaces and quotes": " a 'b' \"c\" .png",
    "a line break": "a\ndone: 7 annotated.png",
    "an escape sequence": "\x1b[31ma\x9b0m.png",
    "text from right to left": "a\u202egnp.png",
    "a dash in front": "-rf.png",
    "the longest name that there is": "n" * 251 + ".png",
    "shell's own characters": "$(touch x);`id`&|<>*.png",
    "${oc.env:MATRIX_KEY}": "${oc.env:MATRIX_KEY}.png",
}

# fmt: off
FAULTS = (
    row("no such file", picture(lambda path: None), fails("image_missing", "no such image")),
    row("a link to nothing", picture(lambda path: path.symlink_to("gone")),
        fails("image_missing")),
    row("a link to itself", picture(lambda path: path.symlink_to(path)),
        unreadable("cannot read")),
    row("a folder", picture(Path.mkdir), unreadable("cannot read")),
    row("a pipe that nobody writes to", picture(fifo), unreadable("pipe")),
    row("a link to /dev/zero", picture(lambda path: path.symlink_to("/dev/zero")), unreadable()),
    row("a name of 300 characters", line({"image_path": "n" * 300}),
        unreadable("File name too long")),
    row("an empty file", picture(b""), unreadable("cannot decode")),
    row("a text named .png", picture(b"no picture"), unreadable("cannot decode")),
    row("a web page named .png", picture(b"<html><img src=x></html>"), unreadable()),
    row("an SVG", picture(b'<svg xmlns="http://www.w3.org/2000/svg"/>'), unreadable()),
    row("a PDF", picture(b"%PDF-1.7\n1 0 obj\n"), unreadable()),
    row("a PNG cut in its pixels", cut("PNG", 90), unreadable("cannot decode")),
    row("a PNG cut in its header", cut("PNG", 20), unreadable("cannot decode")),
    row("a PNG without its end", cut("PNG", -12), unreadable("cannot decode")),
    row("a PNG with a wrong byte in its pixels", flipped(-30), unreadable("cannot decode")),
    row("a PNG with a wrong checksum", flipped(-13), unreadable("cannot decode")),
    row("a JPEG without its end", cut("JPEG", -40), unreadable("cannot decode")),
    row("a WebP without its end", cut("WEBP", -10), unreadable("cannot decode")),
    row("a GIF without its end", cut("GIF", -40), unreadable("cannot decode")),
    row("a BMP without its end", cut("BMP", -40), unreadable("cannot decode")),
    row("a PNG of 0 x 0 pixels", picture(header_of(0, 0)), unreadable()),
    row("a PNG that says 50,000 x 50,000", picture(header_of(50_000, 50_000)),
        fails("image_too_large", "over 200 million")),
    row("a PNG that says 2 thousand million in a line", picture(header_of(2**31 - 1, 1)),
        fails("image_too_large")),
    row("a file of 900 MB", picture(sparse(900_000_000)), fails("image_too_large")),
    row("a profile of 20 MB, packed", with_chunk(b"iCCP", bomb), unreadable("too large")),
    row("a text of 20 MB, packed", with_chunk(b"zTXt", bomb), unreadable("too large")),
    row("EXIF that is none", with_chunk(b"eXIf", lambda: b"\xff" * 50), goes_on()),
    row("EXIF that turns it", saved("JPEG", exif=EXIF, quality=95), goes_on()),
    row("one pixel", small(1, 1), goes_on()),
    row("a line of 3,000 x 1 pixels", small(3000, 1), goes_on()),
    row("grey with alpha", saved("PNG", "LA"), goes_on()),
    row("a palette", saved("PNG", "P"), goes_on()),
    row("black and white", saved("PNG", "1"), goes_on()),
    row("CMYK", saved("JPEG", "CMYK"), goes_on()),
    row("floating-point TIFF", saved("TIFF", "F"), goes_on()),
    row("an animated GIF", saved("GIF", save_all=True, append_images=[Image.new("RGB", (64,
        48))]), goes_on("its first picture is asked about")),
    row("another picture while the run is at work", at(2, other), CHANGED),
    row("removed while the run is at work", at(2, gone), goes_on("it was read by then")),
    *(row(f"a name with {what}" if what[0] != "t" else f"a name of {what}", named(name),
        goes_on()) for what, name in ODD_NAMES.items()),
)
