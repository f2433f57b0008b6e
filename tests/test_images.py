# SPDX-License-Identifier: Apache-2.0
import asyncio
import base64
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from image_grounding.boxes.frames import Transport
from image_grounding.errors import SampleError
from image_grounding.families.families import family_of
from image_grounding.images.encoding import EncodedImage, encode_image
from image_grounding.images.pixels import read_header
from image_grounding.images.source import is_unchanged
from image_grounding.images.store import ImageStore
from support.scenes import make_scene
from support.vision import decode, regions

AS_IS = Transport(1_000_000)
SHRUNK = Transport(40_000)
PATCH28 = Transport(1280 * 28 * 28, 28, 4 * 28 * 28)
EXIF = b"Exif\0\0MM\0*\0\0\0\x08"


def picture(kind: str, mode: str = "RGB", size=(40, 30), colour=None, **options) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, colour if colour is not None else 0).save(buffer, kind, **options)
    return buffer.getvalue()


def put(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def failure(path: Path, transport: Transport = AS_IS) -> SampleError:
    with pytest.raises(SampleError) as caught:
        encode_image(path, transport)
    assert str(path) in str(caught.value)
    assert "BytesIO" not in str(caught.value)
    return caught.value


# --- upright


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(tmp_path, orientation, kind):
    scene = make_scene((320, 240), seed=1)
    path = scene.save(tmp_path / f"a.{kind}", orientation)
    for transport in (AS_IS, SHRUNK, PATCH28):
        sent = encode_image(path, transport)
        image = decode(sent.data)
        assert sent.frame.original == (320, 240), transport
        assert image.size == sent.frame.sent, transport
        assert sent.rotated == (orientation != 1), transport
        assert not Image.open(io.BytesIO(sent.data)).getexif().get(0x0112), transport
        for colour, box in scene.boxes:
            (seen,) = regions(image, colour)
            assert sent.frame.sent_to_original(seen) == pytest.approx(box, abs=3), transport


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0garbage",
        b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01",
        EXIF + b"\0\x01\x01\x12\0\x03\0\0\0\x01\0\x09\0\0\0\0\0\0",
        EXIF + b"\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0",
        EXIF + b"\0\x01\x01\x12\0\x02\0\0\0\x02x\0\0\0\0\0\0\0",
    ],
    ids=["garbage", "cut", "orientation 9", "orientation 0", "orientation x"],
)
@pytest.mark.filterwarnings("ignore")
def test_broken_exif_spoils_no_picture(tmp_path, kind, exif):
    path = put(tmp_path / "a", picture(kind, size=(80, 40), exif=exif))
    for transport in (AS_IS, Transport(1000)):
        sent = encode_image(path, transport)
        assert sent.frame.original == (80, 40)
        assert decode(sent.data).size == sent.frame.sent
        assert not sent.rotated


@pytest.mark.filterwarnings("ignore")
def test_orientation_among_broken_exif(tmp_path):
    exif = (
        EXIF + b"\0\x02\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\x82\x9a\0\x05\0\0\0\x01\xff\xff\xff\xff"
    )
    path = put(tmp_path / "a.jpg", picture("JPEG", size=(80, 40), exif=exif + bytes(4)))
    assert encode_image(path, AS_IS).frame.original == (40, 80)


# --- what travels


@pytest.mark.parametrize(
    ("name", "kind", "mime"),
    [
        ("a.jpg", "JPEG", "image/jpeg"),
        ("a.png", "PNG", "image/png"),
        ("really_a_png.jpg", "PNG", "image/png"),
        ("really_a_jpeg.png", "JPEG", "image/jpeg"),
        ("noending", "PNG", "image/png"),
        ("a.txt", "JPEG", "image/jpeg"),
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_small_upright_file_travels_as_it_is(tmp_path, name, kind, mime, mode):
    data = picture(kind, mode)
    sent = encode_image(put(tmp_path / name, data), AS_IS)
    assert sent.data == data
    assert sent.mime_type == mime
    assert sent.frame.original == sent.frame.sent == (40, 30)
    assert base64.b64decode(sent.base64) == data


def test_fitting_multiple_travels_as_it_is(tmp_path):
    path = make_scene((280, 196)).save(tmp_path / "a.png")
    assert encode_image(path, PATCH28).data == path.read_bytes()
    path = make_scene((281, 196)).save(tmp_path / "b.png")
    sent = encode_image(path, PATCH28)
    assert sent.frame.sent == (280, 196)
    assert sent.mime_type == "image/jpeg"


@pytest.mark.parametrize(
    ("size", "transport", "sent_size"),
    [
        ((2000, 1000), Transport(500_000), (1000, 500)),
        ((1000, 2000), Transport(500_000), (500, 1000)),
        ((2000, 1000), PATCH28, (1400, 700)),
        ((700, 350), PATCH28, (700, 336)),
        ((600, 2), PATCH28, (588, 28)),
        ((1, 1), PATCH28, (56, 56)),
        ((2, 600), PATCH28, (28, 588)),
        ((1, 1), AS_IS, (1, 1)),
        ((600, 2), Transport(100), (100, 1)),
        ((100_000, 1), PATCH28, (35840, 28)),
        ((600, 2), family_of("internvl3").transport, (600, 28)),
        ((3, 5), family_of("a name of its own").transport, (28, 28)),
    ],
)
def test_size_as_sent(tmp_path, size, transport, sent_size):
    path = put(tmp_path / "a.png", picture("PNG", size=size, colour=(40, 60, 220)))
    sent = encode_image(path, transport)
    image = decode(sent.data)
    assert sent.frame.original == size
    assert sent.frame.sent == image.size == sent_size
    assert image.width * image.height <= transport.max_pixels
    assert image.getpixel((0, 0)) == pytest.approx((40, 60, 220), abs=4)


WHITE, BLACK, RED = (255, 255, 255), (0, 0, 0), (255, 0, 0)
MODES = {
    "L png": (picture("PNG", "L", colour=77), (77, 77, 77)),
    "L jpeg": (picture("JPEG", "L", colour=77), (77, 77, 77)),
    "L png with a transparent grey": (picture("PNG", "L", colour=9, transparency=9), WHITE),
    "L png with another one": (picture("PNG", "L", colour=9, transparency=8), (9, 9, 9)),
    "RGB png with a transparent colour": (picture("PNG", colour=RED, transparency=RED), WHITE),
    "RGBA opaque": (picture("PNG", "RGBA", colour=(255, 0, 0, 255)), RED),
    "RGBA transparent": (picture("PNG", "RGBA", colour=(255, 0, 0, 0)), WHITE),
    "RGBA half": (picture("PNG", "RGBA", colour=(0, 0, 0, 128)), (127, 127, 127)),
    "LA opaque": (picture("PNG", "LA", colour=(77, 255)), (77, 77, 77)),
    "LA transparent": (picture("PNG", "LA", colour=(77, 0)), WHITE),
    "CMYK jpeg": (picture("JPEG", "CMYK", colour=(0, 255, 255, 0)), RED),
    "16 bits, white": (picture("PNG", "I;16", colour=65535), WHITE),
    "16 bits, grey": (picture("PNG", "I;16", colour=32768), (128, 128, 128)),
    "16 bits, black": (picture("PNG", "I;16", colour=0), BLACK),
    "16 bits tiff": (picture("TIFF", "I;16", colour=32768), (128, 128, 128)),
    "1 bit, white": (picture("PNG", "1", colour=1), WHITE),
    "1 bit, black": (picture("PNG", "1", colour=0), BLACK),
    "webp": (picture("WEBP", colour=RED, lossless=True), RED),
    "webp transparent": (picture("WEBP", "RGBA", colour=(9, 9, 9, 0), lossless=True), WHITE),
    "bmp": (picture("BMP", colour=RED), RED),
    "tiff": (picture("TIFF", colour=RED), RED),
    "CMYK tiff": (picture("TIFF", "CMYK", colour=(0, 255, 255, 0)), RED),
    "ppm": (picture("PPM", colour=RED), RED),
}


@pytest.mark.parametrize("transport", [AS_IS, Transport(300)], ids=["as is", "shrunk"])
@pytest.mark.parametrize(("data", "colour"), MODES.values(), ids=MODES)
def test_modes(tmp_path, data, colour, transport):
    sent = encode_image(put(tmp_path / "a", data), transport)
    assert sent.frame.original == (40, 30)
    assert sent.mime_type in ("image/jpeg", "image/png")
    assert Image.open(io.BytesIO(sent.data)).mode in ("RGB", "L")
    image = decode(sent.data)
    assert image.size == sent.frame.sent
    assert image.getpixel((5, 5)) == pytest.approx(colour, abs=4)


@pytest.mark.parametrize("transparent", [True, False])
@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palette(tmp_path, kind, transparent):
    image = Image.new("P", (40, 30), 1)
    image.putpalette([0, 0, 0, 220, 30, 30, 40, 60, 220])
    image.paste(2, (20, 0, 40, 30))
    options = {"transparency": 2} if transparent else {}
    image.save(tmp_path / "a", kind, **options)
    seen = decode(encode_image(tmp_path / "a", AS_IS).data)
    assert seen.getpixel((5, 15)) == pytest.approx((220, 30, 30), abs=4)
    expected = WHITE if transparent else (40, 60, 220)
    assert seen.getpixel((35, 15)) == pytest.approx(expected, abs=4)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_first_frame(tmp_path, kind):
    frames = [Image.new("RGB", (40, 30), colour) for colour in (RED, (0, 255, 0), (0, 0, 255))]
    frames[0].save(tmp_path / "a", kind, save_all=True, append_images=frames[1:])
    sent = encode_image(tmp_path / "a", Transport(600))
    assert decode(sent.data).getpixel((5, 5)) == pytest.approx(RED, abs=6)
    assert sent.mime_type == "image/jpeg"


@pytest.mark.parametrize(
    ("model", "name"),
    [
        *((model, "a.jpg") for model in ("gemini-3.5-flash-lite", "qwen3-vl-8b", "alias")),
        *(("qwen2.5-vl-7b", name) for name in ("a.jpg", "upright.jpg")),
    ],
)
def test_a_photo_is_small_on_the_wire(photo, model, name):
    folder, pixels = photo
    transport = family_of(model).transport
    if name == "upright.jpg":
        Image.open(folder / "a.jpg").transpose(2).save(folder / name, quality=95)
    sent = encode_image(folder / name, transport)
    assert sent.frame.original == ((3024, 4032) if name == "upright.jpg" else (4032, 3024))
    assert len(sent.data) < 440_000
    seen = decode(sent.data)
    assert seen.width * seen.height <= transport.max_pixels
    assert seen.width * seen.height > 0.9 * transport.max_pixels
    assert pixels > 10 * transport.max_pixels


@pytest.fixture(scope="module")
def photo(tmp_path_factory) -> tuple[Path, int]:
    """A JPEG as large as a camera's, with detail at every scale."""
    rng = np.random.default_rng(3)
    image = Image.new("RGB", (2016, 1512), (120, 130, 140))
    for side, strength in ((63, 0.5), (252, 0.35), (1008, 0.25), (2016, 0.15)):
        noise = rng.integers(0, 256, (side * 3 // 4, side, 3), dtype=np.uint8)
        layer = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(1))
        image = Image.blend(image, layer.resize(image.size, Image.Resampling.BICUBIC), strength)
    image = image.resize((4032, 3024), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    for x, y, colour in ((300, 400, "red"), (2500, 700, "navy"), (1400, 2000, "white")):
        pen.ellipse((x, y, x + 700, y + 500), fill=colour)
        pen.rectangle((x + 200, y + 100, x + 900, y + 300), outline="black", width=20)
    folder = tmp_path_factory.mktemp("photo")
    image.save(folder / "a.jpg", quality=92)
    return folder, image.width * image.height


def test_heavy_file_of_a_fitting_size_is_encoded_anew(tmp_path):
    noise = np.random.default_rng(1).integers(0, 256, (500, 600, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    sent = encode_image(tmp_path / "a.png", AS_IS)
    assert sent.frame.original == sent.frame.sent == (600, 500)
    assert sent.mime_type == "image/jpeg"
    assert len(sent.data) < (tmp_path / "a.png").stat().st_size


@pytest.mark.parametrize(("side", "as_it_is"), [(380, True), (384, False)])
def test_how_heavy_a_file_may_be(tmp_path, side, as_it_is):
    noise = np.random.default_rng(1).integers(0, 256, (side, side, 3), dtype=np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(noise).save(path)
    assert (path.stat().st_size <= 440_000) is as_it_is
    assert (encode_image(path, AS_IS).data == path.read_bytes()) is as_it_is


# --- what cannot be used


def cut(data: bytes, part: float) -> bytes:
    return data[: int(len(data) * part)]


NOISE = Image.fromarray(np.random.default_rng(2).integers(0, 256, (90, 120, 3), dtype=np.uint8))


def noise(kind: str) -> bytes:
    buffer = io.BytesIO()
    NOISE.save(buffer, kind)
    return buffer.getvalue()


UNREADABLE = {
    "cut JPEG": cut(noise("JPEG"), 0.6),
    "cut PNG": cut(noise("PNG"), 0.6),
    "cut GIF": cut(noise("GIF"), 0.6),
    "cut WEBP": cut(noise("WEBP"), 0.6),
    "cut BMP": cut(noise("BMP"), 0.6),
    "JPEG header alone": noise("JPEG")[:20],
    "PNG header alone": noise("PNG")[:33],
    "empty": b"",
    "text": b"this is no image\n",
    "HTML": b"<!DOCTYPE html><html><body>404</body></html>",
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    "PDF": b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\n",
    "EPS": picture("EPS"),
    "PostScript": b"%!PS-Adobe-3.0\n%%BoundingBox: 0 0 100 100\nshowpage\n",
    "ICO": picture("ICO"),
}


@pytest.mark.parametrize("transport", [AS_IS, SHRUNK, Transport(500)], ids=str)
@pytest.mark.parametrize("data", UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable(tmp_path, data, transport):
    error = failure(put(tmp_path / "a.jpg", data), transport)
    assert error.reason == "image_unreadable"
    assert str(error).startswith("cannot decode the image")


def test_eps_under_another_name_starts_no_program(tmp_path, monkeypatch):
    """A stand-in for Ghostscript leaves a mark where it is started."""
    mark = tmp_path / "started"
    (tmp_path / "bin").mkdir()
    for name in ("gs", "gswin64c"):
        program = put(tmp_path / "bin" / name, f"#!/bin/sh\ntouch {mark}\n".encode())
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    failure(put(tmp_path / "a.png", picture("EPS")))
    assert not mark.exists()


@pytest.mark.parametrize("name", ["gone.jpg", "file/a.jpg", "gone/a.jpg"])
def test_missing(tmp_path, name):
    put(tmp_path / "file", b"x")
    assert failure(tmp_path / name).reason == "image_missing"


def test_folder(tmp_path):
    assert failure(tmp_path).reason == "image_unreadable"


@pytest.mark.parametrize("target", ["pipe", "/dev/zero"])
def test_what_never_ends_is_not_opened(tmp_path, target):
    os.mkfifo(tmp_path / "pipe")
    path = tmp_path / "a.jpg"
    path.symlink_to(tmp_path / target)
    assert failure(path).reason == "image_unreadable"
    assert read_header(path) is None


def test_a_file_beyond_all_pictures_is_not_read(tmp_path):
    path = put(tmp_path / "a.png", picture("PNG"))
    os.truncate(path, 900_000_000)
    assert failure(path).reason == "image_too_large"


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "\ud800"], ids=["long", "NUL", "surrogate"])
def test_impossible_name(tmp_path, name):
    with pytest.raises(SampleError) as caught:
        encode_image(tmp_path / name, AS_IS)
    assert caught.value.reason == "image_unreadable"


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_header(width: int, height: int) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 100)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "data",
    [png_header(60000, 60000), png_header(200_000_001, 1), b"P6 60000 60000 255\n" + bytes(99)],
    ids=["PNG", "PNG strip", "PPM"],
)
def test_too_many_pixels(tmp_path, data):
    error = failure(put(tmp_path / "a.png", data))
    assert error.reason == "image_too_large"
    assert "over 200 million" in str(error)


def test_header_of_a_fitting_size_is_not_too_large(tmp_path):
    """The check above is on the pixels: the same file with fewer fails in decoding."""
    assert failure(put(tmp_path / "a.png", png_header(600, 600))).reason == "image_unreadable"


# --- fingerprints


def test_is_unchanged(tmp_path):
    path = put(tmp_path / "a.png", picture("PNG", colour=RED))
    mark = encode_image(path, AS_IS).fingerprint
    assert is_unchanged(path, mark)
    os.utime(path, ns=(1, 1))
    assert is_unchanged(path, mark)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    put(path, bytes(data))
    os.utime(path, ns=(2, 2))
    assert not is_unchanged(path, mark)
    put(path, bytes(data[:-1]))
    assert not is_unchanged(path, mark)
    path.unlink()
    assert is_unchanged(path, mark)


def test_other_size_at_the_same_time_is_another_file(tmp_path):
    path = put(tmp_path / "a.png", picture("PNG"))
    mark = encode_image(path, AS_IS).fingerprint
    put(path, path.read_bytes() + b"x")
    os.utime(path, ns=(mark["mtime_ns"], mark["mtime_ns"]))
    assert not is_unchanged(path, mark)


def test_fingerprint_does_not_depend_on_the_transport(tmp_path):
    path = make_scene((320, 240)).save(tmp_path / "a.png")
    assert encode_image(path, AS_IS).fingerprint == encode_image(path, SHRUNK).fingerprint


# --- the store


def in_store(work, budget: int = 32_000_000):
    async def run():
        store = ImageStore(budget)
        try:
            return await work(store)
        finally:
            store.close()

    return asyncio.run(run())


def test_concurrent_loads_share_one_read(tmp_path):
    path = make_scene((320, 240)).save(tmp_path / "a.png")

    async def work(store):
        return await asyncio.gather(*(store.load(path, SHRUNK) for _ in range(20)))

    images = in_store(work)
    assert all(image is images[0] for image in images)


def test_another_transport_is_another_image(tmp_path):
    path = make_scene((320, 240)).save(tmp_path / "a.png")

    async def work(store):
        return await asyncio.gather(store.load(path, AS_IS), store.load(path, SHRUNK))

    whole, shrunk = in_store(work)
    assert whole.frame.sent == (320, 240)
    assert shrunk.frame.sent == (230, 173)


def heavy(tmp_path: Path, count: int) -> list[Path]:
    data = picture("PNG") + b"x" * 1000
    return [put(tmp_path / f"{index}.png", data) for index in range(count)]


def test_store_forgets_the_oldest_above_its_budget(tmp_path):
    paths = heavy(tmp_path, 6)
    budget = 3 * paths[0].stat().st_size * 7 // 3

    async def work(store):
        first = [await store.load(path, AS_IS) for path in paths[:3]]
        kept = [await store.load(path, AS_IS) for path in paths[:3]]
        assert all(one is two for one, two in zip(first, kept, strict=True))
        await store.load(paths[0], AS_IS)  # used last, so it stays
        fourth = await store.load(paths[3], AS_IS)
        assert await store.load(paths[0], AS_IS) is first[0]
        assert await store.load(paths[2], AS_IS) is first[2]
        assert await store.load(paths[3], AS_IS) is fourth
        assert await store.load(paths[1], AS_IS) is not first[1]

    in_store(work, budget)


def test_store_keeps_to_its_budget_when_many_load_at_once(tmp_path):
    paths = heavy(tmp_path, 40)
    budget = 5 * paths[0].stat().st_size * 7 // 3

    async def work(store):
        first = await asyncio.gather(*(store.load(path, AS_IS) for path in paths))
        assert all(isinstance(image, EncodedImage) for image in first)
        await store.load(paths[0], AS_IS)
        for path in paths:
            path.unlink()
        results = await asyncio.gather(
            *(store.load(path, AS_IS) for path in paths), return_exceptions=True
        )
        return sum(isinstance(result, EncodedImage) for result in results)

    assert 1 <= in_store(work, budget) <= 5


def test_one_image_above_the_budget_is_still_shared(tmp_path):
    (path,) = heavy(tmp_path, 1)

    async def work(store):
        return await store.load(path, AS_IS) is await store.load(path, AS_IS)

    assert in_store(work, budget=1)


def test_a_failed_load_is_tried_again(tmp_path):
    path = tmp_path / "late.png"

    async def work(store):
        results = await asyncio.gather(
            *(store.load(path, AS_IS) for _ in range(3)), return_exceptions=True
        )
        assert [result.reason for result in results] == ["image_missing"] * 3
        put(path, picture("PNG"))
        return await store.load(path, AS_IS)

    assert in_store(work).frame.original == (40, 30)


def test_a_cancelled_load_spoils_nothing_for_the_others(tmp_path):
    path = make_scene((2000, 1500)).save(tmp_path / "a.png")

    async def work(store):
        first = asyncio.create_task(store.load(path, SHRUNK))
        second = asyncio.create_task(store.load(path, SHRUNK))
        await asyncio.sleep(0)
        first.cancel()
        result = await second
        assert first.cancelled()
        return result

    assert in_store(work).frame.original == (2000, 1500)
