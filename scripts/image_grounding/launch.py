# SPDX-License-Identifier: Apache-2.0
"""How a file of ``scripts/`` starts its tool, whatever Python it was given.

Needs nothing but the standard library, and parses under any Python 3.
"""

import os
import sys

_SCRIPTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# inspect.py in there must not hide the standard library's; the package is found by now.
sys.path[:] = [path for path in sys.path if os.path.realpath(path) != os.path.realpath(_SCRIPTS)]

import importlib


def launch(module: str, command: str) -> None:
    """Run ``command`` of ``image_grounding.cli.module``.

    Where this Python is too old or lacks a package, say on one line how to get one that does
    not, and exit with 2.
    """
    if sys.version_info < (3, 11):  # noqa: UP036
        _cannot_start("Python 3.11 or later is needed, this is " + sys.version.split()[0])
    try:
        tool = importlib.import_module("image_grounding.cli." + module)
    except ModuleNotFoundError as error:
        if not error.name or error.name.split(".")[0] == "image_grounding":
            raise
        _cannot_start("the Python package " + error.name.split(".")[0] + " is not installed")
    getattr(tool, command)()


def _cannot_start(why: str) -> None:
    setup = os.path.join(_SCRIPTS, "setup_env.py")
    sys.stderr.write(
        f"error: {why}; make an environment with: python3.11 {setup}, and use the "
        '"python" that it prints\n'
    )
    sys.exit(2)
