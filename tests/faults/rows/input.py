# SPDX-License-Identifier: Apache-2.0
"""Faults of the input file and its lines."""

import gzip
import json
import os
from functools import partial

from faults.fault import Fault, Inject, Outcome, fails, goes_on, refuses, stops
from faults.injections import at, both, content, fifo, given, line
from faults.stage import Stage, remove

row = partial(Fault, "input")
DEEP = "[" * 100_000 + "]" * 100_000
CHANGED = partial(stops, "changed while the run was at work")


def replaced(make: Inject) -> Inject:
    """Something else in the place of the input."""

    def inject(stage: Stage) -> None:
        remove(stage.input)
        make(stage)
        stage.lines = []

    return inject


def rewritten(change: bytes | None) -> Inject:
    """The same with other content; None removes it."""

    def act(stage: Stage) -> None:
        if change is None:
            stage.input.unlink()
        else:
            stage.input.write_bytes(change)

    return act


def encoded(encoding: str, ending: str = "\n") -> Inject:
    return content(lambda stage: "".join(
        json.dumps(row, ensure_ascii=False) + ending for row in stage.rows
    ).encode(encoding))  # fmt: skip


def packed(change: slice, more: bytes = b"") -> Inject:
    def inject(stage: Stage) -> None:
        path = stage.folder / "input.jsonl.gz"
        path.write_bytes(gzip.compress(stage.input.read_bytes())[change] + more)
        stage.more.append(f"data.input_jsonl={path}")

    return inject


def step_0(*records: str) -> Inject:
    """Records of a step 0 that somebody else did, and step 1 alone."""

    def inject(stage: Stage) -> None:
        folder = stage.results / "step_0_expression_extraction"
        folder.mkdir(parents=True)
        (folder / "annotations.jsonl").write_text("".join(text + "\n" for text in records))
        stage.more.append('workflow.steps=["1"]')
        stage.lines = [text.encode() for text in records]

    return inject


LINES = {
    "that is no JSON": ("{", "not JSON"),
    "that is a list": ("[1]", "not a JSON object"),
    "that is null": ("null", "not a JSON object"),
    "cut in the middle": ('{"image_path": "victim.png", "capt', "not JSON"),
    "of two objects": ('{"a": 1} {"b": 2}', "not JSON: Extra data"),
    "of zero bytes": (b"\0" * 50, "not JSON"),
    "nested 100,000 deep": (f'{{"a": {DEEP}}}', "nested too deep"),
    "of 17 MiB": (b'{"a": "' + b"x" * 17 * 2**20 + b'"}', "over 16 MiB"),
    "that is not UTF-8": (b'{"caption": "\xff\xfe"}', "not UTF-8 at byte 14"),
    "with NaN": ('{"image_path": "victim.png", "caption": "a dog", "x": NaN}', "no JSON number"),
    "with 1e999": ('{"image_path": "a", "caption": "b", "x": 1e999}', "a number is too large"),
    "with a number of 5,000 digits": ('{"x": ' + "7" * 5000 + "}", "a number is too long"),
    "without image_path": ('{"caption": "a dog"}', "'image_path' is a required property"),
    "without caption": ('{"image_path": "victim.png"}', "'caption' is a required property"),
    "with an empty caption": ({"caption": ""}, "caption is empty"),
    "with a blank caption": ({"caption": " \t\u3000 "}, "caption is empty"),
    "with a list as caption": ({"caption": ["a dog"]}, "caption must be string, not list"),
    "with an empty image_path": ({"image_path": ""}, "image_path is empty"),
    "with a number as image_path": ({"image_path": 7}, "image_path must be string, not int"),
    "with NUL in image_path": ({"image_path": "a\0.png"}, "holds a NUL character"),
    "with half a character in image_path": ({"image_path": "\udcff.png"}, "half a character"),
    "with a list as image_id": ({"image_id": [1]}, "image_id must be"),
    "with a text as width": ({"width": "64"}, "width must be"),
    "whose image is an address": ({"image_path": "https://h/a.png"}, "is an address"),
    "whose image is in a bucket": ({"image_path": "s3://bucket/a.png"}, "is an address"),
    "whose image is a data: URL": ({"image_path": "data:image/png;base64,iVBO"}, "is an address"),
    "whose image is above image_root": ({"image_path": "../x.png"}, "outside of data.image_root"),
    "whose image is /etc/passwd": ({"image_path": "/etc/passwd"}, "outside of data.image_root"),
}  # fmt: skip

# fmt: off
FAULTS = (
    *(row(f"a line {name}", line(text), fails("bad_line", words)) for name, (text, words) in
        LINES.items()),
    row("the same line twice", lambda stage: stage.add(stage.lines[1]),
        goes_on("asked for once, written twice", most=5)),
    row("a failing line three times", line(*[{"image_path": "none.png"}] * 3), Outcome(3,
        "the first fails as `image_missing`, the others as `repeated_failure`",
        failed={"image_missing": 1, "repeated_failure": 2})),
    row("fields that the record has, too", line({"caption": "A red box", "expressions": "x",
        "sample_id": "../../x", "source": 7, "pipeline_steps": None}),
        goes_on("the record's own are written")),
    row("a key twice in a line",
        line('{"image_path": "no", "image_path": "victim.png", "caption": "a red rectangle"}'),
        goes_on("the last one counts")),
    row("half a character in a caption", line({"caption": "a red rectangle \ud800"}),
        goes_on("U+FFFD stands for it")),
    row("a caption of 200 KB", line({"caption": "a red box" + " and nothing" * 17_000}),
        goes_on()),
    row("image_id with a path in it", line({"caption": "A red box", "image_id": "../../../x"}),
        goes_on("no file has that name")),
    row("a wrong width and height", line({"caption": "A red box", "width": 7, "height": -1}),
        goes_on("the file's size is used", "64x48 in the file")),
    row("blank lines in between", line("", " \t", {"caption": "A red box"}, ""), goes_on()),
    row("a byte order mark", encoded("utf-8-sig"), goes_on()),
    row("lines that end in CR LF", encoded("utf-8", "\r\n"), goes_on()),
    row("no end of the last line", content(lambda stage: b"\n".join(stage.lines)), goes_on()),
    row("lines that end in CR alone", encoded("utf-8", "\r"),
        refuses("its lines end in CR alone")),
    row("UTF-16", encoded("utf-16"), refuses("can be used")),
    row("an empty file", content(b""), refuses("the input has no lines")),
    row("nothing but blank lines", content(b"\n \n\t\n"), refuses("the input has no lines")),
    row("nothing but bad lines", content(b"{\n[]\n"), refuses("2 x bad_line")),
    row("no such file", replaced(lambda stage: None), refuses("No such file or directory")),
    row("a folder", replaced(lambda stage: stage.input.mkdir()), refuses("Is a directory")),
    row("a pipe that nobody writes to", replaced(lambda stage: fifo(stage.input)),
        refuses("it is a pipe; save it to a file first")),
    row("/dev/zero", given("data.input_jsonl=/dev/zero"), refuses("it is a device")),
    row("a link that leads to itself", replaced(lambda stage:
        stage.input.symlink_to(stage.input)), refuses("Too many levels of symbolic links")),
    row("a .gz that is cut", packed(slice(0, -12)), refuses("cannot read the input")),
    row("a .gz that is none", packed(slice(0, 0), b"no gzip"), refuses("Not a gzipped file")),
    row("a .gz with something behind it", packed(slice(None), b"\0\0\0"), goes_on()),
    row("truncated while the run is at work", at(1, lambda stage: os.truncate(stage.input, 10)),
        CHANGED(code=2)),
    row("replaced while the run is at work", at(1, rewritten(b"{}\n")), CHANGED(code=2)),
    row("removed while the run is at work", at(1, rewritten(None)), CHANGED(code=2)),
    row("appended to while the run is at work", at(1, lambda stage: stage.add({"caption":
        "one more"})), CHANGED(code=2)),
    row("step 1 alone without a step 0", given('workflow.steps=["1"]'),
        refuses("step 1 alone needs the output of step 0")),
    row("step 1 alone after a step 0 of bad records",
        step_0('{"image_path": "victim.png", "caption": "a red rectangle"}',
        '{"image_path": "victim.png", "caption": "a dog", "expressions": [7]}',
        '{"image_path": "victim.png", "caption": "a cat", "expressions": [{"text": ""}]}'),
        refuses("no list of expressions")),
    row("--dry-run over a bad line", both(line("{"), given("--dry-run")), Outcome(3,
        "named, as the run would; nothing is asked or written", "not JSON", most=0)),
)
