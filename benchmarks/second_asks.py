#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What it costs that absence is stated, never inferred: second asks by the form of the replies.

A loopback server that looks at the pictures answers in one form at a time; every second caption
names a thing that its picture does not show.

    python benchmarks/second_asks.py [--samples 40]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "scripts")]

from support.loopback import Loopback  # noqa: E402
from support.model import Model  # noqa: E402
from support.scenes import COLOURS, make_scene  # noqa: E402

# A form of ``support.model.Model``, and what it stands for.
FORMS = {"objects": "the schema", "keyed": "an object keyed by expression", "list": "a bare list"}


def make_input(folder: Path, samples: int) -> Path:
    """Pictures with three of four colours; every second caption names the fourth, too."""
    rows = []
    for index in range(samples):
        scene = make_scene((320, 240), seed=index)
        scene.save(folder / f"{index}.png")
        missing = (set(COLOURS) - {name for name, _ in scene.boxes}).pop()
        more = f" and a {missing} rectangle" if index % 2 else ""
        rows.append({"image_path": f"{index}.png", "caption": scene.caption + more})
    path = folder / "input.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def run(server: Loopback, data: Path, results: Path) -> dict[str, Any]:
    """One run's summary."""
    command = [
        *(sys.executable, str(ROOT / "scripts" / "run_pipeline.py"), f"results_dir={results}"),
        *(f"data.input_jsonl={data}", f"data.image_root={data.parent}", "vlm.backend=openai"),
        *(f"vlm.openai.base_url={server.base_url}", "vlm.openai.model_name=test-vlm", "--quiet"),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    summary: dict[str, Any] = json.loads(ran.stdout)
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=40)
    samples = parser.parse_args().samples
    with tempfile.TemporaryDirectory() as name:
        data = make_input(Path(name), samples)
        for form, meaning in FORMS.items():
            with Loopback(Model(form=form)) as server:
                usage = run(server, data, Path(name, form))["usage"]
                sizes = [len(call.prompt) for call in server.calls if call.step == "1"]
            first, second = sizes[:samples], sizes[samples:]
            again = usage["asked_again"]
            more = sum(second) / sum(first)
            print(
                f"{meaning}: {again} second asks for {samples} samples, half of which name "
                f"something that is not there; {more:.0%} more prompt text in step 1"
            )


if __name__ == "__main__":
    main()
