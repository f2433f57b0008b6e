# SPDX-License-Identifier: Apache-2.0
"""A picture that cannot be decoded whole is never sent, and the dry run says the same."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import Project, write_jsonl
from support.loopback import Loopback
from support.scenes import make_scene
from support.scripts import ROOT, run_script

Maker = Callable[..., Project]


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    make_scene((64, 48)).draw().save(buffer, kind)
    return buffer.getvalue()


def chunks(png: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each chunk's content."""
    start = 8
    while start < len(png):
        length, name = struct.unpack(">I4s", png[start : start + 8])
        yield name, start + 8, start + 8 + length
        start += 12 + length


def content(png: bytes, name: bytes) -> tuple[int, int]:
    return next((start, end) for found, start, end in chunks(png) if found == name)


def bad_checksum() -> bytes:
    png = encoded("PNG")
    _, end = content(png, b"IDAT")
    return png[:end] + bytes(4) + png[end + 4 :]


def bad_data() -> bytes:
    """The pixels' own checksum is wrong, that of their chunk is right."""
    png = encoded("PNG")
    start, end = content(png, b"IDAT")
    data = png[start : end - 1] + bytes([png[end - 1] ^ 1])
    return png[:start] + data + struct.pack(">I", zlib.crc32(b"IDAT" + data)) + png[end + 4 :]


BROKEN = {
    "checksum.png": bad_checksum(),
    "data.png": bad_data(),
    "no end.png": encoded("PNG")[:-12],
    "cut.jpg": encoded("JPEG")[:-40],
    "cut.webp": encoded("WEBP")[:-10],
}


@pytest.fixture
def broken(make_project: Maker) -> Project:
    project = make_project(1, size=(64, 48))
    rows = [{"image_path": "scene0.png", "caption": project.scenes["scene0.png"].caption}]
    for name, data in BROKEN.items():
        (project.folder / name).write_bytes(data)
        rows.append({"image_path": name, "caption": "a red square"})
    write_jsonl(project.input, rows)
    return project


def test_what_is_sent_was_decoded_whole(broken: Project, server: Loopback) -> None:
    dry = broken.run(server, "--dry-run")
    assert (dry.code, dry.json["unusable"]["by_reason"]) == (3, {"image_unreadable": len(BROKEN)})
    ran = broken.run(server)
    failed = {entry["image_path"]: entry["reason"] for entry in broken.failures("0")}
    assert ran.code == 3
    assert failed == dict.fromkeys(BROKEN, "image_unreadable")
    sent = {bytes(call.image) for call in server.calls if call.image}
    assert not sent & set(BROKEN.values())
    assert [record["image_path"] for record in broken.annotations()] == ["scene0.png"]


def test_the_embedded_annotator_takes_no_broken_picture(broken: Project) -> None:
    ran = run_script(
        "run_pipeline.py", "-e", str(ROOT / "specs/local.yaml"), f"results_dir={broken.results}",
        f"data.input_jsonl={broken.input}", f"data.image_root={broken.folder}",
    )  # fmt: skip
    assert ran.code == 3, ran.err
    assert ran.json["counts"]["failed_by_step"]["0"] == {"image_unreadable": len(BROKEN)}


def test_a_broken_picture_is_found_wherever_it_is_shrunk(tmp_path: Path) -> None:
    from image_grounding.boxes.frames import Transport
    from image_grounding.errors import SampleError
    from image_grounding.images.encoding import encode_image

    for name, data in BROKEN.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(SampleError, match="cannot decode"):
            encode_image(tmp_path / name, Transport(1000))
