# SPDX-License-Identifier: Apache-2.0
"""The bundle's own environment, made for real."""

import re
import shutil
import sysconfig
from pathlib import Path

from conftest import read_jsonl, write_jsonl
from support.installed import BARE, installed_copy


def test_set_up_and_run(tmp_path: Path) -> None:
    with installed_copy(tmp_path) as installed:
        before = installed.files()
        made = installed.run("setup_env.py", "--quiet")
        assert (made.code, made.err) == (0, "")
        python = made.json["python"]
        assert Path(python).is_file()
        assert installed.home in Path(python).parents
        assert (made.json["status"], made.json["extras"]) == ("ready", [])
        assert made.json["made_with"] in ("pip", "uv")

        again = installed.run("setup_env.py")
        assert (again.code, again.json["python"], again.json["made_with"]) == (0, python, None)

        failed = installed.run("setup_env.py", "--quiet", "--extras", "parquet")
        assert (failed.code, failed.json["status"]) == (2, "error")
        assert "gone-1" in failed.err.partition("its own message is above")[0], (
            "quiet but for failures"
        )
        assert installed.run("setup_env.py").json["extras"] == [], "what there is stays as it was"

        other = installed.run("run_pipeline.py", python=BARE)
        assert other.code == 2
        assert other.err.endswith(f"; start this script with {python}\n")

        # The dependencies that were left out for this test come from the environment of the tests.
        bare = installed.run("run_pipeline.py", "--help", python=(python,))
        assert bare.code == 2
        assert bare.err.count("\n") == 1, bare.err
        assert re.search(r"package \w+ is not installed.*setup_env\.py --fresh", bare.err)
        (site_packages,) = Path(made.json["environment"]).glob("[Ll]ib/**/site-packages")
        (site_packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")

        photo = installed.bundle / "assets" / "photos" / "astronaut.jpg"
        shutil.copy(photo, installed.project / "mine.jpg")
        rows = [{"image_path": "mine.jpg", "caption": "There is a person in an orange suit"}]
        write_jsonl(installed.project / "captions.jsonl", rows)
        spec = installed.bundle / "specs" / "local.yaml"
        ran = installed.run(
            "run_pipeline.py", "-e", str(spec), "data.input_jsonl=captions.jsonl",
            "data.image_root=''", "results_dir=results", python=(python,),
        )  # fmt: skip
        assert ran.code == 0, ran.err
        (record,) = read_jsonl(installed.project / "results" / "annotations.jsonl")
        assert record["expressions"][0]["instances"]
        assert installed.files() == before, "a read-only bundle stays as it is"
