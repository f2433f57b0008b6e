# SPDX-License-Identifier: Apache-2.0
"""Image files to the bytes that are sent, with the frame they are in."""

import base64
import contextlib
import hashlib
import io
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from image_grounding.boxes.frames import Frame, Size, Transport, fit_size
from image_grounding.errors import SampleError

# Formats that Pillow decodes by itself: never those it hands to another program (EPS).
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")
_MIME = {"JPEG": "image/jpeg", "PNG": "image/png"}
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
MAX_FILE_PIXELS = 200_000_000
# More than any picture of so many pixels takes.
_MAX_FILE_BYTES = 4 * MAX_FILE_PIXELS
# Tried in order until the file is small enough.
_JPEG_QUALITIES = (85, 75, 60, 45, 30)

Image.MAX_IMAGE_PIXELS = None  # our own limit is checked before anything is decoded


@dataclass(frozen=True)
class EncodedImage:
    """An image as it travels.

    Attributes:
        data: the bytes of a JPEG or PNG file, upright.
        mime_type: ``image/jpeg`` or ``image/png``.
        frame: upright original size and size as sent.
        fingerprint: what the file was when it was read, see ``fingerprint``.
        rotated: whether EXIF turned it upright.
    """

    data: bytes
    mime_type: str
    frame: Frame
    fingerprint: dict[str, Any]
    rotated: bool = False

    @cached_property
    def data_url(self) -> str:
        """The bytes as a ``data:`` URL."""
        return f"data:{self.mime_type};base64,{base64.b64encode(self.data).decode()}"


def encode_image(path: Path, transport: Transport) -> EncodedImage:
    """Read, check, turn upright, resize and encode one image file.

    A small upright JPEG or PNG that already fits travels as it is.

    Raises:
        SampleError: ``image_missing``, ``image_unreadable`` or ``image_too_large``.
    """
    with _as_sample_errors(path):
        raw = path.read_bytes()
        status = path.stat()
        mark = {
            "size": status.st_size,
            "mtime_ns": status.st_mtime_ns,
            "sha256": hashlib.sha256(raw).hexdigest(),
        }
        with Image.open(io.BytesIO(raw), formats=_FORMATS) as image:
            _check_pixels(image, path)
            data, mime_type, frame, rotated = _encode(image, raw, transport)
    return EncodedImage(data, mime_type, frame, mark, rotated)


def open_upright(path: Path, transport: Transport) -> Image.Image:
    """The picture in an image file, upright, RGB, of the size that ``transport`` asks for.

    Raises:
        SampleError: as ``encode_image``.
    """
    with _as_sample_errors(path), Image.open(path, formats=_FORMATS) as image:
        _check_pixels(image, path)
        size, orientation = _upright_size(image)
        return _upright(image, orientation, fit_size(size, transport))


def upright_size(path: Path) -> Size:
    """(width, height) of an image file in pixels, EXIF applied, from its header alone.

    A file that is cut or broken behind its header is not found out.

    Raises:
        SampleError: as ``encode_image``.
    """
    return _header(path).size


@dataclass(frozen=True)
class Header:
    """What the head of an image file says: its upright size, and how it is stored."""

    size: Size
    orientation: int


def read_header(path: Path) -> Header | None:
    """The header of an image file, without decoding it; None where it cannot be used."""
    try:
        return _header(path)
    except SampleError:
        return None


def _header(path: Path) -> Header:
    with _as_sample_errors(path), Image.open(path, formats=_FORMATS) as image:
        _check_pixels(image, path)
        orientation = _orientation(image)
        # A TIFF gives its upright size before it is loaded.
        turned = orientation >= 5 and image.format != "TIFF"
        return Header(image.size[::-1] if turned else image.size, orientation)


@contextlib.contextmanager
def _as_sample_errors(path: Path) -> Iterator[None]:
    """What goes wrong with an image file costs its samples, never the run."""
    try:
        _check_file(path)
        yield
    except SampleError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise SampleError("image_missing", f"no such image: {path}") from None
    except MemoryError:
        raise SampleError("image_too_large", f"no memory to decode {path}") from None
    except Exception as error:  # decoders raise nearly anything on a broken file
        unreadable = isinstance(error, OSError) and error.strerror
        message = (
            f"cannot read the image {path}: {unreadable}"
            if unreadable
            else f"cannot decode the image {path}: {_reason(error)}"
        )
        raise SampleError("image_unreadable", message) from None


def _check_file(path: Path) -> None:
    """Before it is opened: a pipe would wait for ever, a device never end."""
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise SampleError("image_unreadable", f"cannot read the image {path}: Is a directory")
    if not stat.S_ISREG(status.st_mode):
        raise SampleError("image_unreadable", f"cannot read the image {path}: it is no file")
    if status.st_size > _MAX_FILE_BYTES:
        raise SampleError("image_too_large", f"{path} has {status.st_size} bytes, over 800 million")


def _check_pixels(image: Image.Image, path: Path) -> None:
    if image.width * image.height > MAX_FILE_PIXELS:
        message = f"{path} has {image.width}x{image.height} pixels, over 200 million"
        raise SampleError("image_too_large", message)


def _reason(error: Exception) -> str:
    # Pillow's message for an unknown format names a memory address.
    return "not a known image format" if isinstance(error, UnidentifiedImageError) else str(error)


def _encode(image: Image.Image, raw: bytes, transport: Transport) -> tuple[bytes, str, Frame, bool]:
    rotated = _orientation(image) > 1
    size, orientation = _upright_size(image)
    sent = fit_size(size, transport)
    frame = Frame(size, sent, transport.resize_multiple)
    source_format = image.format or ""
    plain = image.mode in ("RGB", "L") and "transparency" not in image.info
    small = len(raw) <= transport.max_bytes
    if source_format in _MIME and plain and small and not rotated and sent == size:
        image.load()  # a cut or broken file must fail here, not at the endpoint
        return raw, _MIME[source_format], frame, rotated
    data = _jpeg(_upright(image, orientation, sent), transport.max_bytes)
    return data, "image/jpeg", frame, rotated


def _jpeg(image: Image.Image, max_bytes: int) -> bytes:
    """``image`` as a JPEG of at most so many bytes, if the lowest quality manages it."""
    for quality in _JPEG_QUALITIES:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality, subsampling=0 if quality >= 85 else 2)
        if buffer.tell() <= max_bytes:
            break
    return buffer.getvalue()


def _upright_size(image: Image.Image) -> tuple[Size, int]:
    """(width, height) when upright, and the EXIF orientation that is still to be undone."""
    if image.format not in ("JPEG", "MPO"):
        image.load()  # a TIFF turns itself upright when it is loaded
    orientation = _orientation(image)
    return image.size[::-1] if orientation >= 5 else image.size, orientation


def _upright(image: Image.Image, orientation: int, size: Size) -> Image.Image:
    """The picture turned upright, as RGB of ``size`` (width, height)."""
    if image.format in ("JPEG", "MPO"):
        # Lets the decoder skip detail that the resize would throw away.
        image.draft("RGB", size[::-1] if orientation >= 5 else size)
    flat = _to_rgb(image.transpose(_TURN[orientation]) if orientation > 1 else image)
    if flat.size != size:
        flat = flat.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    return flat


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none or it cannot be read."""
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


def same_file(path: Path, mark: dict[str, Any]) -> bool:
    """Whether ``path`` still holds what ``mark`` was taken from.

    Looks at the size and time first and reads the file only where the time differs (a copy).
    A file that is gone counts as the same: what was made from it stands.
    """
    try:
        status = path.stat()
        if status.st_size != mark.get("size"):
            return False
        if status.st_mtime_ns == mark.get("mtime_ns"):
            return True
        return _digest(path, status.st_mtime_ns) == mark.get("sha256")
    except (OSError, ValueError):
        return True


@lru_cache(maxsize=4096)
def _digest(path: Path, mtime_ns: int) -> str:
    """Of a file that several samples and steps look at."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
