# SPDX-License-Identifier: Apache-2.0
"""Image files to the bytes that are sent, with the frame they are in."""

import io
import math
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from PIL import Image

from image_grounding.boxes.frames import Frame, Transport
from image_grounding.images.pixels import (
    check_whole,
    open_image,
    orientation_of,
    resized,
    upright,
    upright_size_of,
)
from image_grounding.images.source import Source, SourceBytes, read, sample_errors

_MIME = {"JPEG": "image/jpeg", "PNG": "image/png"}
# Tried in order until the file is small enough.
_JPEG_QUALITIES = (85, 75, 60, 45, 30)


@dataclass(frozen=True)
class EncodedImage:
    """An image as it travels.

    Attributes:
        data: the bytes of a JPEG or PNG file, upright; none of one that another process holds.
        mime_type: ``image/jpeg`` or ``image/png``.
        frame: upright original size and size as sent.
        fingerprint: what the file was when it was read, see ``SourceBytes``.
        rotated: whether EXIF turned it upright.
        held_elsewhere: of a file that another process holds, how many bytes it has.
    """

    data: bytes
    mime_type: str
    frame: Frame
    fingerprint: Mapping[str, Any]
    rotated: bool = False
    held_elsewhere: int = 0

    @property
    def length(self) -> int:
        """Bytes of the file."""
        return len(self.data) + self.held_elsewhere

    @cached_property
    def base64(self) -> bytes:
        """``data`` in base64, as it stands in every request with this picture."""
        return b64encode(self.data)


def encode_image(source: Source, transport: Transport) -> EncodedImage:
    """One image file as it is sent at one size; see ``encode_sizes``."""
    return encode_sizes(source, (transport,))[0]


def encode_sizes(
    source: Source, transports: tuple[Transport, ...], found: SourceBytes | None = None
) -> tuple[EncodedImage, ...]:
    """Read, check and decode one image file; turn it upright, resize and encode it.

    A small upright JPEG or PNG that already fits travels as it is. The file is decoded once for
    all sizes.

    Args:
        source: the image.
        transports: the sizes.
        found: its bytes, where they have been read.

    Raises:
        SampleError: as ``source.opened``.
    """
    found = found or read(source)
    with sample_errors(source), io.BytesIO(found.data) as file:
        check_whole(file, source)
        picture = _Picture(open_image(file, source), found, transports)
        return tuple(map(picture.encode, transports))


class _Picture:
    """One open image file, on its way to the sizes of ``transports``."""

    def __init__(
        self, image: Image.Image, file: SourceBytes, transports: tuple[Transport, ...]
    ) -> None:
        self._image = image
        self._file = file
        self._rotated = orientation_of(image) > 1
        self._size, self._orientation = upright_size_of(image)
        self._frames = {transport: transport.frame(self._size) for transport in transports}
        plain = image.mode in ("RGB", "L") and "transparency" not in image.info
        self._may_stay = image.format in _MIME and plain and not self._rotated

    def encode(self, transport: Transport) -> EncodedImage:
        frame = self._frames[transport]
        small = len(self._file.data) <= transport.max_bytes
        if self._may_stay and small and frame.sent == self._size:
            self._image.load()  # a cut or broken file must fail here, not at the endpoint
            data, mime_type = self._file.data, _MIME[self._image.format or ""]
        else:
            data = _jpeg(resized(self._decoded, frame.sent), transport.max_bytes)
            mime_type = "image/jpeg"
        return EncodedImage(data, mime_type, frame, self._file.fingerprint, self._rotated)

    @cached_property
    def _decoded(self) -> Image.Image:
        """The picture, upright, at the largest size that is asked for."""
        largest = max((frame.sent for frame in self._frames.values()), key=math.prod)
        return upright(self._image, self._orientation, largest)


def _jpeg(image: Image.Image, max_bytes: int) -> bytes:
    """``image`` as a JPEG of at most so many bytes, if the lowest quality manages it."""
    for quality in _JPEG_QUALITIES:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality, subsampling=0 if quality >= 85 else 2)
        if buffer.tell() <= max_bytes:
            break
    return buffer.getvalue()
