# SPDX-License-Identifier: Apache-2.0
"""Fuzz one target with atheris; started by ``run.py``, in a process that may die.

What is found goes into files beside the corpus, once for each place where it is raised, and
fuzzing goes on.
"""

import argparse
import hashlib
import importlib
import random
import sys
import traceback
from pathlib import Path

from mutate import mutated_json

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


def main() -> None:
    """Fuzz until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--folder", type=Path, required=True, help="for corpus and findings")
    parser.add_argument("--seconds", type=int, required=True)
    parser.add_argument("--scratch", type=Path, required=True, help="for the target's own files")
    given = parser.parse_args()
    sys.path[:0] = [str(HERE), str(ROOT / "scripts")]
    import atheris

    with atheris.instrument_imports(include=["image_grounding"]):
        module = importlib.import_module(f"targets.{given.name}")
    target = module.target(given.scratch)
    corpus, found = given.folder / "corpus", given.folder / "found"
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds:
        (corpus / hashlib.sha256(seed).hexdigest()[:20]).write_bytes(seed)
    words = given.folder / "words.txt"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))

    def check(data: bytes) -> None:
        try:
            target.check(data)
        except Exception as error:
            _keep(found, data, error)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        rng = random.Random(seed)
        head, text = data[: target.head], data[target.head :]
        if target.head and rng.random() < 0.1:
            return bytes(rng.randrange(32) for _ in head) + text
        changed = mutated_json(text, rng) if rng.random() < 0.6 else None
        return (head + changed)[:most] if changed else atheris.Mutate(data, most)

    options = [
        f"-max_total_time={given.seconds}", f"-dict={words}", "-max_len=8192", "-timeout=20",
        "-rss_limit_mb=3000", "-print_final_stats=1", "-report_slow_units=1000",
        f"-artifact_prefix={found}/died-",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(corpus)], check, custom_mutator=mutate)
    atheris.Fuzz()


def _escaped(word: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word.encode())


def _keep(folder: Path, data: bytes, error: Exception) -> None:
    """Input and traceback, where nothing was found in the same place before."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename}:{frame.lineno}" for frame in frames]
    ours = [place for place in places if place.startswith((f"{HERE}", f"{ROOT}/scripts"))]
    place = "|".join(ours[-2:])
    name = hashlib.sha256(f"{type(error).__name__}|{place}".encode()).hexdigest()[:12]
    if not (folder / f"{name}.txt").exists():
        (folder / f"{name}.input").write_bytes(data)
        text = "".join(traceback.format_exception(error))
        (folder / f"{name}.txt").write_text(text, encoding="utf-8", errors="backslashreplace")


if __name__ == "__main__":
    main()
