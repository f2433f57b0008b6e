# SPDX-License-Identifier: Apache-2.0
"""How a file of ``scripts/`` starts its tool, whatever Python it was given.

Needs nothing but the standard library, and parses under any Python 3.
"""

import os
import sys

_SCRIPTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# inspect.py in there must not hide the standard library's; the package is found by now.
sys.path[:] = [path for path in sys.path if os.path.realpath(path) != os.path.realpath(_SCRIPTS)]

import gc
import importlib


def launch(module: str, command: str) -> None:
    """Run the function ``command`` of ``module``.

    Where this Python is too old or lacks a package, say on one line which one to use instead
    and exit with 2.
    """
    if sys.version_info < (3, 11):  # noqa: UP036
        _cannot_start("Python 3.11 or later is needed, this is " + sys.version.split()[0])
    try:
        _start(module, command)
    except KeyboardInterrupt:  # while importing, which takes a second
        sys.exit(130)
    finally:
        gc.freeze()  # or all modules, which go away with the process, would be looked through


def _start(module: str, command: str) -> None:
    try:
        tool = importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package in ("", "image_grounding"):
            raise
        _cannot_start(f"the package {package} is not installed in this Python")
    getattr(tool, command)()


def _cannot_start(why: str) -> None:
    from image_grounding.environment import folder, python_of, ready_extras

    environment = folder()
    starter = sys.executable if sys.version_info >= (3, 11) else "python3.11"
    setup = f"{starter} {os.path.join(_SCRIPTS, 'setup_env.py')}"
    if ready_extras(environment) is None:
        remedy = f'make an environment with: {setup} and use the "python" that it names'
    elif os.path.realpath(sys.prefix) != os.path.realpath(environment):
        remedy = f"start this script with {python_of(environment)}"
    else:
        remedy = f"make the environment anew with: {setup} --fresh"
    sys.stderr.write(f"error: {why}; {remedy}\n")
    sys.exit(2)
