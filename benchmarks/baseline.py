#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same job done plainly, to compare with: a pool of threads, one request each at a time.

Step 0 of all records, then step 1 of all records; the synchronous SDK; the picture's own bytes in
every request of step 1, none in step 0; a small file for each finished step.
"""

import argparse
import base64
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai

EXTRACT = (
    "Clean the caption and list its referring expressions with their noun chunks as JSON: "
    '{"cleaned_caption": "...", "expressions": [{"text": "...", "noun_chunk": "..."}]}.'
    "\nCAPTION: "
)
GROUND = (
    "Find the boxes of each expression in the image, in pixels, as JSON: "
    '{"instances": [{"id": 0, "bbox_2d": [x1, y1, x2, y2], "score": 0.0}]}.\nEXPRESSIONS: '
)


class Baseline:
    """Two steps over an input."""

    def __init__(self, url: str, folder: Path, results: Path) -> None:
        self.client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
        self.folder, self.results = folder, results
        results.mkdir()

    def ask(self, prompt: str, image: bytes | None = None) -> Any:
        """One request, its reply as JSON."""
        content: list[Any] = [{"type": "text", "text": prompt}]
        if image:
            address = f"data:image/jpeg;base64,{base64.b64encode(image).decode()}"
            content.append({"type": "image_url", "image_url": {"url": address}})
        done = self.client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": content}], max_tokens=2048
        )
        return json.loads(done.choices[0].message.content or "")

    def extract(self, number: int, row: dict[str, Any]) -> dict[str, Any]:
        """Step 0 of a record."""
        found = {**row, **self.ask(EXTRACT + json.dumps(row["caption"]))}
        (self.results / f"{number}.0.json").write_text(json.dumps(found))
        return found

    def ground(self, number: int, row: dict[str, Any]) -> dict[str, Any]:
        """Step 1 of a record."""
        texts = [
            {"id": place, "text": expression["text"]}
            for place, expression in enumerate(row["expressions"])
        ]
        image = (self.folder / row["image_path"]).read_bytes()
        found = {**row, **self.ask(GROUND + json.dumps(texts), image)}
        (self.results / f"{number}.1.json").write_text(json.dumps(found))
        return found


def main() -> None:
    """Write the records, and say how many."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("data", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--workers", type=int, default=4)
    given = parser.parse_args()
    rows = [json.loads(line) for line in given.data.read_text().splitlines()]
    baseline = Baseline(given.url, given.data.parent, given.results)
    with ThreadPoolExecutor(given.workers) as pool:
        rows = list(pool.map(baseline.extract, range(len(rows)), rows))
        rows = list(pool.map(baseline.ground, range(len(rows)), rows))
    with open(given.results / "annotations.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    print(json.dumps({"records": len(rows)}))


if __name__ == "__main__":
    main()
