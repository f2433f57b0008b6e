# SPDX-License-Identifier: Apache-2.0
"""From image files to upright pixels."""

import contextlib
import os
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image

from image_grounding.boxes.frames import Size, Transport, fit_size
from image_grounding.errors import SampleError
from image_grounding.images.source import MAX_FILE_PIXELS, Source, opened, read_head
from image_grounding.storage.address import is_address

# Formats that Pillow decodes by itself: never those it hands to another program (EPS).
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")
_PNG = b"\x89PNG\r\n\x1a\n"
_ORIENTATION = 0x0112
# What turns each EXIF orientation upright.
_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Chunks that may hold an orientation: EXIF, or texts with EXIF or XMP in them.
_PNG_METADATA = (b"eXIf", b"iTXt", b"tEXt", b"zTXt")

Image.MAX_IMAGE_PIXELS = None  # our own limit is checked before anything is decoded


@dataclass(frozen=True)
class Header:
    """What the head of an image file says: its upright size, and how it is stored."""

    size: Size
    orientation: int


def open_image(file: BinaryIO, source: Source) -> Image.Image:
    """The image in a file, not decoded yet; raises SampleError ``image_too_large``."""
    image = Image.open(file, formats=_FORMATS)
    if image.width * image.height > MAX_FILE_PIXELS:
        message = f"{source} has {image.width}x{image.height} pixels, over 200 million"
        raise SampleError("image_too_large", message)
    return image


def check_whole(file: BinaryIO, source: Source) -> None:
    """See that a PNG is all there, checksums and end, which its decoding passes over.

    Raises:
        SampleError: ``image_too_large``; else as the decoder raises, see ``sample_errors``.
    """
    is_png = file.read(len(_PNG)) == _PNG
    file.seek(0)
    if is_png:
        open_image(file, source).verify()
        file.seek(0)


def open_upright(source: Source, transport: Transport) -> Image.Image:
    """The picture in an image file, upright, RGB, of the size that ``transport`` asks for.

    Raises:
        SampleError: as ``source.opened``.
    """
    with opened(source) as file:
        check_whole(file, source)
        image = open_image(file, source)
        size, orientation = upright_size_of(image)
        return upright(image, orientation, fit_size(size, transport))


def upright_size(source: Source) -> Size:
    """(width, height) of an image file in pixels, EXIF applied, from its header alone.

    A file that is cut or broken behind its header is not found out.

    Raises:
        SampleError: as ``source.opened``.
    """
    return _header(source).size


def read_header(source: Source) -> Header | None:
    """The header of an image file, without decoding it; None where it cannot be used."""
    try:
        return _header(source)
    except SampleError:
        return None


def _header(source: Source) -> Header:
    if is_address(source):
        head = read_head(os.fspath(source))
        with contextlib.suppress(Exception):  # decoders raise nearly anything on a part of a file
            return _header_in(head, source)
    with opened(source) as file:
        return _header_in(file, source)


def _header_in(file: BinaryIO, source: Source) -> Header:
    with open_image(file, source) as image:
        orientation = 1 if _is_plain_png(image, file) else orientation_of(image)
        # A TIFF gives its upright size before it is loaded.
        turned = orientation >= 5 and image.format != "TIFF"
        return Header(image.size[::-1] if turned else image.size, orientation)


def _is_plain_png(image: Image.Image, file: BinaryIO) -> bool:
    """Whether it is a PNG that says nothing of an orientation: Pillow would decode it to see.

    Metadata may also stand behind the pixels, so all chunks are passed over.
    """
    if image.format != "PNG":
        return False
    place = 8
    while True:
        file.seek(place)
        head = file.read(8)
        if len(head) < 8 or head[4:] in _PNG_METADATA:
            return False
        if head[4:] == b"IEND":
            return True
        place += 12 + int.from_bytes(head[:4])


def upright_size_of(image: Image.Image) -> tuple[Size, int]:
    """(width, height) when upright, and the EXIF orientation that is still to be undone."""
    if image.format not in ("JPEG", "MPO"):
        image.load()  # a TIFF turns itself upright when it is loaded
    orientation = orientation_of(image)
    return image.size[::-1] if orientation >= 5 else image.size, orientation


def upright(image: Image.Image, orientation: int, size: Size) -> Image.Image:
    """The picture turned upright, as RGB of ``size`` (width, height)."""
    if image.format in ("JPEG", "MPO"):
        # Lets the decoder skip detail that the resize would throw away.
        image.draft("RGB", size[::-1] if orientation >= 5 else size)
    return resized(_to_rgb(image.transpose(_TURN[orientation]) if orientation > 1 else image), size)


def resized(image: Image.Image, size: Size) -> Image.Image:
    """An RGB image at ``size`` (width, height)."""
    if image.size == size:
        return image
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none or it cannot be read."""
    if image.format == "PNG":
        image.load()  # looking for EXIF does so, and what is wrong with the picture shows once
    try:
        value = image.getexif().get(_ORIENTATION)
    except Exception:  # as for decoders; broken EXIF data spoil no picture
        return 1
    return value if value in _TURN else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a pixel
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(ground, layer).convert("RGB")
    return image.convert("RGB")
