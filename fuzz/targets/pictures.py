# SPDX-License-Identifier: Apache-2.0
"""Image files: header, whole picture, and the file as it travels."""

import io
from pathlib import Path
from unittest import mock

from PIL import Image

from image_grounding.boxes.frames import Transport
from image_grounding.errors import SampleError
from image_grounding.images import pixels
from image_grounding.images.encoding import encode_sizes
from image_grounding.images.pixels import open_upright, read_header, upright_size
from targets import Target
from targets.strict import check_message

_TRANSPORTS = (Transport(1_000_000), Transport(100, min_side=4))
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")
_REASONS = {"image_unreadable", "image_too_large"}


def target(folder: Path) -> Target:
    """The target, with its file in ``folder``."""
    path = folder / "a.image"
    seeds = [
        _picture(kind, mode, orientation)
        for kind in _FORMATS
        for mode in ("RGB", "L", "P", "RGBA", "I;16", "1", "CMYK")
        for orientation in (1, 6)
    ]

    # Of the limit that counts only how long an input takes.
    @mock.patch.object(pixels, "MAX_FILE_PIXELS", 4_000_000)
    def check(data: bytes) -> None:
        path.write_bytes(data)
        try:
            size = upright_size(path)
        except SampleError as error:
            size = None
            _check_error(error)
        assert (read_header(path) is None) == (size is None)
        try:
            encoded = encode_sizes(path, _TRANSPORTS)
        except SampleError as error:
            return _check_error(error)
        for image, transport in zip(encoded, _TRANSPORTS, strict=True):
            sent = Image.open(io.BytesIO(image.data))
            sent.load()
            assert sent.size == image.frame.sent == transport.frame(image.frame.original).sent
            assert size == image.frame.original, "the header says another size"
        assert open_upright(path, _TRANSPORTS[1]).size == encoded[1].frame.sent
        return None

    words = ["Exif\0\0", "IHDR", "IEND", "eXIf", "tEXt", "zTXt", "RIFF", "VP8X", "P6 2 2 255\n"]
    return Target(check, sorted({seed for seed in seeds if seed}), words)


def _check_error(error: SampleError) -> None:
    assert error.reason in _REASONS, error.reason
    check_message(error)


def _picture(kind: str, mode: str, orientation: int) -> bytes:
    """A small file; nothing where the format has no such mode."""
    image = Image.effect_noise((6, 4), 80).convert(mode if mode != "I;16" else "L")
    if mode == "I;16":
        image = image.convert("I").convert("I;16")
    exif = Image.Exif()
    if orientation > 1:
        exif[0x0112] = orientation
    buffer = io.BytesIO()
    try:
        image.save(buffer, kind, exif=exif)
    except (OSError, ValueError, KeyError):
        return b""
    return buffer.getvalue()
