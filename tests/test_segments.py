# SPDX-License-Identifier: Apache-2.0
"""The store of checkpoints: what was put is there, whatever happens to the process."""

import json
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_grounding.results import segments
from image_grounding.results.segments import Segments
from support.scripts import SCRIPTS

IDS = [f"picture-{number:020x}" for number in range(6)]
# What may happen to a store: a put, a discard, a process that goes on, a kill within a line.
EVENTS = st.lists(
    st.tuples(st.just("put"), st.sampled_from(IDS), st.text(max_size=9))
    | st.tuples(st.just("discard"), st.sampled_from(IDS), st.none())
    | st.tuples(st.sampled_from(["reopen", "cut", "tidy", "refresh"]), st.none(), st.none()),
    max_size=40,
)


def text(sample_id: str, value: str) -> str:
    return json.dumps({"sample_id": sample_id, "value": value}, ensure_ascii=False)


def texts(store: Segments) -> dict[str, str]:
    found = {sample_id: store.get(sample_id) for sample_id in IDS}
    return {sample_id: line.decode().rstrip("\n") for sample_id, line in found.items() if line}


@given(events=EVENTS)
@settings(max_examples=150)
def test_the_latest_text_of_each_id_counts(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("segments")
    store, watcher, model = Segments(folder), Segments(folder), dict[str, str]()
    for event, sample_id, value in events:
        if event == "put":
            store.put(text(sample_id, value))
            model.pop(sample_id, None)
            model[sample_id] = text(sample_id, value)
        elif event == "discard":
            store.discard(sample_id)
            model.pop(sample_id, None)
        elif event == "refresh":
            assert watcher.refresh() == len(model)
            assert texts(watcher) == model
        elif event == "tidy":
            store.close()
            most, segments._MOST_SEGMENTS = segments._MOST_SEGMENTS, 1
            try:
                store.tidy()
            finally:
                segments._MOST_SEGMENTS = most
            store, watcher = Segments(folder), Segments(folder)
        else:
            store.close()
            if event == "cut":
                (folder / "segment-09000.jsonl").write_bytes(text(IDS[0], "lost").encode()[:-3])
            store = Segments(folder)
    again = Segments(folder)
    assert texts(again) == model
    assert again.refresh() == len(model)
    assert list(again.ids()) == list(model)


def test_many_segments_become_one(tmp_path: Path) -> None:
    for number in range(70):
        store = Segments(tmp_path)
        store.put(text(IDS[number % 5], str(number)))
        store.close()
    before = texts(Segments(tmp_path))
    Segments(tmp_path).tidy()
    assert [path.name for path in tmp_path.iterdir()] == ["segment-00071.jsonl"]
    assert texts(Segments(tmp_path)) == before


def test_texts_that_count_no_more_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "_MOST_WASTE", 10_000)
    store = Segments(tmp_path)
    for number in range(200):
        store.put(text(IDS[0], f"{number} " + "x" * 100))
    store.close()
    store.tidy()
    (path,) = tmp_path.iterdir()
    assert path.stat().st_size < 200
    assert b'"199 ' in (Segments(tmp_path).get(IDS[0]) or b"")


def test_two_processes_have_segments_of_their_own(tmp_path: Path) -> None:
    first, second = Segments(tmp_path), Segments(tmp_path)
    for number, store in enumerate([first, second] * 3):
        store.put(text(IDS[number], str(number)))
    assert len(texts(Segments(tmp_path))) == 6
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_goes_away_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    store = Segments(folder)
    store.put(text(IDS[0], "a"))
    shutil.rmtree(folder)
    with pytest.raises(OSError, match="No such file"):
        store.put(text(IDS[1], "b"))


WRITER = """
import sys
from collections.abc import Iterator
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from image_grounding.results.segments import Segments
store, number = Segments(Path(sys.argv[2])), 0
while True:
    store.put('{"sample_id": "picture-%020x", "value": "%s"}' % (number, "y" * 5000))
    number += 1
    print(number, flush=True)
"""


def test_killed_while_it_writes(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(SCRIPTS), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for _ in range(300):
            process.stdout.readline()
        process.kill()
        written = 300 + len(process.stdout.read().split())
    assert process.returncode == -signal.SIGKILL
    store = Segments(tmp_path)
    assert store.refresh() in (written, written + 1)
    for number in range(written):
        line = store.get(f"picture-{number:020x}")
        assert line
        assert len(json.loads(line)["value"]) == 5000


@pytest.mark.parametrize(
    "damage",
    [b"\n", b"{}\n", b"\x00\xff\n", b'{"sample_id": "no hash at all"}\n', b'{"sample_id": "'],
)
def test_damaged_lines_hide_no_others(tmp_path: Path, damage: bytes) -> None:
    lines = [text(sample_id, "good").encode() + b"\n" for sample_id in IDS]
    (tmp_path / "segment-00001.jsonl").write_bytes(b"".join(lines[:3]) + damage)
    (tmp_path / "segment-00002.jsonl").write_bytes(b"".join(lines[3:]))
    (tmp_path / "segment-x.jsonl").write_bytes(lines[0])
    store = Segments(tmp_path)
    assert len(texts(store)) == 6
    assert store.damaged == damage.endswith(b"\n")


@pytest.fixture
def small_files() -> Iterator[None]:
    """Files of this process take 1,000 bytes; then they are full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    heard = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, heard)


def test_what_follows_a_text_that_did_not_fit_is_whole(tmp_path: Path, small_files: None) -> None:
    store = Segments(tmp_path)
    store.put(text(IDS[0], "first"))
    with pytest.raises(OSError, match="too large"):
        store.put(text(IDS[1], "x" * 5_000))
    store.put(text(IDS[2], "third"))
    again = Segments(tmp_path)
    assert texts(again) == {IDS[0]: text(IDS[0], "first"), IDS[2]: text(IDS[2], "third")}
    assert again.damaged == 0
