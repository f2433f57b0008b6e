# SPDX-License-Identifier: Apache-2.0
import gzip
import hashlib
import json
import os
import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import write_jsonl
from image_grounding.errors import InputError
from image_grounding.input.samples import (
    MAX_LINE_BYTES,
    BadLine,
    Sample,
    SampleReader,
    make_sample_id,
)
from image_grounding.steps.extraction import EXTRACTION

SAFE = re.compile(r"[A-Za-z0-9._-]{1,80}")
GOOD = b'{"image_path": "a.jpg", "caption": "a dog"}'


def read(path: Path, data: bytes | str, **options) -> list[Sample | BadLine]:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return list(SampleReader(path, **options))


def line(**fields) -> str:
    return json.dumps({"image_path": "a.jpg", "caption": "a dog", **fields})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "input.jsonl"


# --- the file


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (GOOD, [1]),
        (GOOD + b"\n", [1]),
        (b"\xef\xbb\xbf" + GOOD + b"\n", [1]),
        (GOOD + b"\r\n" + GOOD + b"\r\n", [1, 2]),
        (b"\n\n  \t\n" + GOOD + b"\n\r\n\n" + GOOD, [4, 7]),
        (b"\xef\xbb\xbf\r\n" + GOOD, [2]),
        (b"  " + GOOD + b"  \n", [1]),
        (b"", []),
        (b"\n \r\n", []),
        (b"\xef\xbb\xbf", []),
    ],
)
@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_forms_of_a_file(tmp_path, data, lines, suffix):
    path = tmp_path / f"in{suffix}"
    items = read(path, gzip.compress(data) if suffix.endswith(".gz") else data)
    assert [item.line for item in items] == lines
    assert all(isinstance(item, Sample) and item.caption == "a dog" for item in items)


def test_reader_reads_again_and_counts(file):
    write_jsonl(file, [line(), "", "not JSON", line(caption="a cat")])
    reader = SampleReader(file)
    for _ in range(2):
        assert [(item.line, type(item)) for item in reader] == [
            (1, Sample),
            (3, BadLine),
            (4, Sample),
        ]
    assert reader.count() == 3


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"gone\.jsonl: No such file"):
        list(SampleReader(tmp_path / "gone.jsonl"))


def test_folder_as_input(tmp_path):
    with pytest.raises(InputError, match="Is a directory"):
        list(SampleReader(tmp_path))


def packed(count: int) -> bytes:
    rng = random.Random(7)
    rows = [line(caption=f"a dog {rng.random()}") for _ in range(count)]
    return gzip.compress("\n".join(rows).encode())


@pytest.mark.parametrize(
    "data",
    [packed(100)[:1000], packed(100)[:-4], packed(1)[:5], GOOD, packed(9)[:-8] + b"\0" * 8],
    ids=["cut", "cut at the end", "cut in the header", "not gzip", "wrong checksum"],
)
def test_broken_gz(tmp_path, data):
    path = tmp_path / "in.jsonl.gz"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"cannot read the input .*in\.jsonl\.gz: ."):
        list(SampleReader(path))
    with pytest.raises(InputError, match="cannot read the input"):
        SampleReader(path).count()


# --- bad lines

DEEP = "[" * 200_000
LONG = line(caption="x" * MAX_LINE_BYTES)
BAD = {
    "not JSON": ("{not json}", "not JSON"),
    "half a line": (line()[:-5], "not JSON"),
    "two objects": (line() + line(), "not JSON"),
    "array": ("[1, 2]", "not a JSON object"),
    "null": ("null", "not a JSON object"),
    "number": ("7", "not a JSON object"),
    "text": ('"a dog"', "not a JSON object"),
    "false": ("false", "not a JSON object"),
    "empty object": ("{}", "'image_path' is a required property"),
    "no caption": ('{"image_path": "a.jpg"}', "'caption' is a required property"),
    "no image": ('{"caption": "a dog"}', "'image_path' is a required property"),
    "empty caption": (line(caption=""), "caption is empty"),
    "blank caption": (line(caption=" \t\n\u3000"), "caption is empty"),
    "null caption": (line(caption=None), "caption must be string, not null"),
    "number as caption": (line(caption=7), "caption must be string, not int"),
    "list as caption": (line(caption=["a dog"]), "caption must be string, not list"),
    "empty image": (line(image_path=""), "image_path is empty"),
    "blank image": (line(image_path=" \t"), "image_path is empty"),
    "null image": (line(image_path=None), "image_path must be string, not null"),
    "number as image": (line(image_path=1.5), "image_path must be string, not float"),
    "NUL in the image": (line(image_path="a\0.jpg"), "NUL"),
    "width is text": (line(width="abc"), "width must be integer or null, not str"),
    "width is true": (line(width=True), "width must be integer or null, not bool"),
    "width is a fraction": (line(width=1.5), "width must be integer or null, not float"),
    "height is a list": (line(height=[1]), "height must be integer or null, not list"),
    "image_id is a list": (line(image_id=[1]), "image_id must be string or integer, not list"),
    "image_id is true": (line(image_id=True), "image_id must be string or integer, not bool"),
    "NaN": (line()[:-1] + ', "x": NaN}', "NaN is no JSON number"),
    "-Infinity": (line()[:-1] + ', "x": -Infinity}', "-Infinity is no JSON number"),
    "a number that is infinite": (line()[:-1] + ', "x": 1e999}', "too large"),
    "a number without end": (line()[:-1] + f', "x": {"9" * 5000}}}', "a number is too long"),
    "not UTF-8": (line().encode()[:-2] + b'\xff"}', "not UTF-8 at byte 42"),
    "UTF-16": (line().encode("utf-16"), "not UTF-8"),
    "BOM inside": ("\ufeff" + line(), "not JSON"),
    "nested too deep": (line()[:-1] + f', "x": {DEEP}', "nested too deep"),
    "too long": (LONG, "over 16 MiB"),
}


@pytest.mark.parametrize(("bad", "message"), BAD.values(), ids=BAD)
def test_bad_line_is_reported_and_the_rest_goes_on(file, bad, message):
    bad = bad.encode() if isinstance(bad, str) else bad
    items = read(file, GOOD + b"\n\n" + bad + b"\n" + GOOD + b"\n")
    assert [item.line for item in items] == [1, 3, 4]
    assert [type(item) for item in items] == [Sample, BadLine, Sample]
    assert items[1].error.reason == "bad_line"
    assert message in str(items[1].error)
    assert len(str(items[1].error)) < 200
    assert items[2].occurrence == 2


@pytest.mark.parametrize(
    ("bad", "image_path"),
    [
        (line(caption=7), "a.jpg"),
        (line(image_path=7), None),
        ('{"caption": "a dog"}', None),
        ("{not json}", None),
    ],
)
def test_bad_line_names_its_image(file, bad, image_path):
    (item,) = read(file, bad)
    assert item.image_path == image_path


def test_all_bad_lines_at_once(file):
    parts = [bad.encode() if isinstance(bad, str) else bad for bad, _ in BAD.values()]
    items = read(file, b"\n".join(part for bad in parts for part in (bad, GOOD)))
    assert [item.line for item in items] == list(range(1, 2 * len(parts) + 1))
    assert {type(item) for item in items[::2]} == {BadLine}
    assert {type(item) for item in items[1::2]} == {Sample}


def test_longest_line_is_taken(file):
    room = MAX_LINE_BYTES - len(line(caption="")) - 1
    (good,) = read(file, line(caption="x" * room) + "\n")
    assert isinstance(good, Sample)
    assert len(good.caption) == room


# --- fields


def test_fields_pass_through_unchanged(file):
    fields = {
        "caption": " a dög \U0001f600 ",
        "image_path": "a.jpg",
        "image_id": "x",
        "width": 3,
        "height": None,
        "nested": {"z": [1, 2.5, None, True, {"a": "b"}], "a": {}},
        "expressions": [{"text": "mine"}],
        "big": 12345678901234567890,
        "": "empty name",
    }
    (sample,) = read(file, json.dumps(fields))
    assert sample.fields == fields
    assert list(sample.fields) == list(fields)
    assert sample.caption == fields["caption"]
    assert not sample.given


@pytest.mark.parametrize(
    ("fields", "image_id"),
    [
        ({"image_id": 7}, 7),
        ({"image_id": "7"}, "7"),
        ({"image_id": 0}, 0),
        ({"image_id": "../../evil"}, "../../evil"),
        ({"image_id": ""}, "a"),
        ({}, "a"),
        ({"image_path": "b/c.d.tar.png"}, "c.d.tar"),
        ({"image_path": "b/noending"}, "noending"),
        ({"image_path": "b/.hidden"}, ".hidden"),
    ],
)
def test_image_id(file, fields, image_id):
    (sample,) = read(file, line(**fields))
    assert sample.image_id == image_id
    assert type(sample.image_id) is type(image_id)


@pytest.mark.parametrize("image_id", [7, "7", "../../evil", "x" * 300])
def test_image_id_has_no_part_in_the_sample_id(file, image_id):
    with_id, without = read(file, line(image_id=image_id) + "\n" + line())
    assert with_id.sample_id == without.sample_id
    assert (with_id.occurrence, without.occurrence) == (1, 2)


@pytest.mark.parametrize(
    ("written", "caption"),
    [
        (r"a \ud83d\ude00", "a \U0001f600"),
        (r"a \ud800 dog", "a \ufffd dog"),
        (r"\udc00", "\ufffd"),
        (r"a \udfff\ud800", "a \ufffd\ufffd"),
    ],
)
def test_lone_surrogates(file, written, caption):
    (sample,) = read(file, f'{{"image_path": "a.jpg", "caption": "{written}"}}')
    assert sample.caption == caption
    assert sample.caption.encode()
    assert SAFE.fullmatch(sample.sample_id)


def test_lone_surrogate_in_the_path(file):
    (bad,) = read(file, r'{"image_path": "\ud800.jpg", "caption": "a dog"}')
    assert isinstance(bad, BadLine)
    assert "half a character" in str(bad.error)


# --- sample ids

HOSTILE = [
    "../../evil",
    "../../evil.jpg",
    "/etc/passwd",
    "..",
    ".",
    "/",
    "a/..",
    "x" * 300 + ".jpg",
    "x" * 5000,
    "日本語の写真.jpg",
    "\U0001f600.png",
    ".jpg",
    "con",
    "NUL.txt",
    "a\nb.jpg",
    "a b\tc.jpg",
    "a\\b.jpg",
    "C:\\x.jpg",
    "-rf.jpg",
    "*?.jpg",
    '"$(rm)`.jpg',
    "%2e%2e%2f.jpg",
    "a\x1b[31m.jpg",
    "\u202egpj.jpg",
    " ",
    "https://example.org/a.jpg?x=1#y",
]


@pytest.mark.parametrize("image_path", HOSTILE)
def test_sample_id_is_a_safe_file_name(tmp_path, image_path):
    sample_id = make_sample_id(image_path, "a dog")
    assert SAFE.fullmatch(sample_id)
    assert not sample_id.startswith(("-", "."))
    path = tmp_path / f"{sample_id}.json"
    path.write_text("x")
    assert path.resolve().parent == tmp_path.resolve()
    assert os.listdir(tmp_path) == [path.name]


def test_sample_ids_of_hostile_paths_differ():
    ids = {make_sample_id(path, "a dog").casefold() for path in HOSTILE}
    assert len(ids) == len(HOSTILE)


ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)


@settings(max_examples=100)
@given(image_path=ANY, caption=ANY, more=st.lists(ANY, max_size=2))
def test_sample_id_always_matches(image_path, caption, more):
    sample_id = make_sample_id(image_path, caption, *more)
    assert SAFE.fullmatch(sample_id)
    assert sample_id == make_sample_id(image_path, caption, *more)


@settings(max_examples=100)
@given(first=st.tuples(ANY, ANY), second=st.tuples(ANY, ANY))
def test_sample_ids_are_equal_only_for_equal_pairs(first, second):
    assert (make_sample_id(*first) == make_sample_id(*second)) == (first == second)


def test_sample_id_is_the_same_on_every_machine():
    """A change of these would ask anew for everything that users have finished."""
    assert make_sample_id("coco/000042.jpg", "a dog") == "000042-e16ca5c4b57e01a839c3"
    assert make_sample_id("日本/犬.jpg", "一只狗") == "image-ce3164d0e15bd4f28727"


def test_captions_of_one_image_and_images_of_one_caption_are_distinct(file):
    rows = [{"image_path": "a/1.jpg", "caption": f"caption {index}"} for index in range(5)]
    rows.append({"image_path": "b/1.jpg", "caption": "caption 0"})
    samples = list(SampleReader(write_jsonl(file, rows)))
    assert len({sample.sample_id for sample in samples}) == 6
    assert {sample.occurrence for sample in samples} == {1}


def test_identical_lines_are_counted(file):
    rows = [line(), line(caption="a cat"), line(), line(caption="a cat"), line()]
    samples = list(SampleReader(write_jsonl(file, rows)))
    assert [sample.occurrence for sample in samples] == [1, 1, 2, 2, 3]
    assert len({sample.sample_id for sample in samples}) == 2


def test_ids_do_not_depend_on_the_order(file):
    rows = [{"image_path": f"{i % 7}.jpg", "caption": f"caption {i % 11}"} for i in range(60)]
    forward = list(SampleReader(write_jsonl(file, rows)))
    backward = list(SampleReader(write_jsonl(file, rows[::-1])))
    first, second = (
        {(item.fields["image_path"], item.caption, item.sample_id) for item in items}
        for items in (forward, backward)
    )
    assert first == second
    assert len(first) == 60


# --- where images are


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """``here`` is the current folder; ``there`` holds the input; ``root`` is an image_root."""
    for name in ("here", "there", "root"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


@pytest.mark.parametrize(
    ("exists", "root", "image_path", "found"),
    [
        (["here", "there"], "", "a.jpg", "here/a.jpg"),
        (["there"], "", "a.jpg", "there/a.jpg"),
        (["there"], "", "../there/a.jpg", "there/a.jpg"),
        ([], "", "a.jpg", "here/a.jpg"),
        (["here", "there", "root"], "root", "a.jpg", "root/a.jpg"),
        (["here", "there"], "root", "a.jpg", "root/a.jpg"),
        (["here", "root"], "root", "ABSOLUTE/there/a.jpg", "there/a.jpg"),
        (["here"], "", "ABSOLUTE/there/a.jpg", "there/a.jpg"),
        (["here"], "../root", "a.jpg", "root/a.jpg"),
    ],
)
def test_where_an_image_is(folders, exists, root, image_path, found):
    for name in exists:
        (folders / name / "a.jpg").write_bytes(b"x")
    root = str(folders / root) if root == "root" else root
    image_path = image_path.replace("ABSOLUTE", str(folders))
    (sample,) = read(folders / "there" / "in.jsonl", line(image_path=image_path), image_root=root)
    assert Path(os.path.normpath(os.path.abspath(sample.image))) == folders / found
    assert sample.fields["image_path"] == image_path


def test_a_path_too_long_to_look_up(file):
    (sample,) = read(file, line(image_path="x" * 100_000))
    assert isinstance(sample, Sample)


# --- records of step 0


def record(**fields) -> str:
    expressions = [{"expression_id": "e0", "text": "a dog", "char_span": [0, 5]}]
    return line(cleaned_caption="a dog", expressions=expressions, **fields)


def test_step_0_record_keeps_the_sample_id(file):
    (plain,) = read(file, line())
    (sample,) = read(file, record(sample_id=plain.sample_id), identity=EXTRACTION.identity)
    assert sample.given
    assert sample.sample_id == plain.sample_id
    assert sample.fields["expressions"][0]["expression_id"] == "e0"


@pytest.mark.parametrize("given", [None, "theirs"])
def test_ids_of_the_records_of_others_do_not_depend_on_the_order(file, given):
    rows = [line(expressions=expressions(text), sample_id=given) for text in ("a dog", "a cat")]
    ids = [
        [
            sample.sample_id
            for sample in SampleReader(write_jsonl(file, order), identity=EXTRACTION.identity)
        ]
        for order in (rows, rows[::-1])
    ]
    assert ids[0] == ids[1][::-1]
    assert len(set(ids[0])) == 2


def test_step_0_record_without_caption(file):
    fields = {"image_path": "a.jpg", "cleaned_caption": "a dog", "expressions": []}
    (sample,) = read(file, json.dumps(fields), identity=EXTRACTION.identity)
    assert sample.caption == "a dog"
    (bad,) = read(file, json.dumps(fields))
    assert isinstance(bad, BadLine)


def expressions(*texts: str, prefix: str = "e") -> list[dict[str, str]]:
    return [{"expression_id": f"{prefix}{i}", "text": text} for i, text in enumerate(texts)]


def test_step_0_records_of_one_pair_with_other_expressions_are_distinct(file):
    given = [expressions("a dog"), expressions("a cat"), expressions("a dog"), expressions("a cat")]
    rows = [line(expressions=item) for item in given]
    samples = list(SampleReader(write_jsonl(file, rows), identity=EXTRACTION.identity))
    assert [sample.occurrence for sample in samples] == [1, 1, 2, 2]
    assert samples[0].sample_id == samples[2].sample_id
    assert samples[1].sample_id == samples[3].sample_id
    assert samples[0].sample_id != samples[1].sample_id
    assert all(SAFE.fullmatch(sample.sample_id) for sample in samples)


def test_step_0_records_that_differ_in_ids_alone_are_one_sample(file):
    """As an identical line twice in the input of step 0 leaves them."""
    rows = [line(expressions=expressions("a dog", prefix=prefix)) for prefix in ("x-e", "x.2-e")]
    samples = list(SampleReader(write_jsonl(file, rows), identity=EXTRACTION.identity))
    assert [sample.occurrence for sample in samples] == [1, 2]
    assert samples[0].sample_id == samples[1].sample_id
    assert [s.fields["expressions"][0]["expression_id"] for s in samples] == ["x-e0", "x.2-e0"]


@pytest.mark.parametrize("garbage", [None, 7, "a dog", {}, [7, None], [[{"text": 1}]]])
def test_step_0_records_with_garbage_for_expressions_are_read(file, garbage):
    samples = read(file, line(expressions=garbage) + "\n" + line(), identity=EXTRACTION.identity)
    assert [type(sample) for sample in samples] == [Sample, Sample]


@given(texts=st.lists(st.text(st.characters(codec=None), max_size=20), min_size=2, max_size=3))
def test_a_sample_id_is_a_hash_of_json(texts):
    """Ids that were made by ``json.dumps`` stay what they are."""
    digest = hashlib.sha256(json.dumps(texts).encode()).hexdigest()
    assert make_sample_id(*texts).endswith(f"-{digest[:20]}")
