# SPDX-License-Identifier: Apache-2.0
"""``merge.py``: results of shards into one folder."""

import sys
from pathlib import Path

from image_grounding.cli.common import print_json, reporting_errors
from image_grounding.run.merging import merge
from image_grounding.run.progress import make_reporter

_ONLY_IN_FILE = {"spec", "versions", "working_folder"}


def merge_tool(
    results: tuple[Path, ...],
    output: Path,
    source: Path | str | None,
    image_root: str | None,
    allow_missing: bool,
    quiet: bool,
) -> None:
    """Merge the results of shards into one folder, as one run over the whole input leaves it."""
    reporter = make_reporter(quiet=quiet)
    with reporting_errors():
        merged = merge(
            results,
            output,
            reporter.say,
            source=source,
            image_root=image_root,
            allow_missing=allow_missing,
        )
        counts, missing = merged.report["counts"], merged.report["missing"]
        if missing["shards"]:
            reporter.say(f"missing: shard {', '.join(missing['shards'])}")
        if missing["samples"]:
            first = missing["first"][0]
            reporter.say(
                f"{missing['samples']} samples are left, the first on line {first['line']}: run "
                "their shards to the end and merge again, or run the whole input into the merge"
            )
        reporter.say(
            f"merged: {counts['annotated']} annotated, {counts['failed']} failed; "
            f"results in {output}"
        )
        short = {k: value for k, value in merged.report.items() if k not in _ONLY_IN_FILE}
        print_json({"exit_code": int(merged.exit_code), **short})
    sys.exit(merged.exit_code)
