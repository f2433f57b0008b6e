# SPDX-License-Identifier: Apache-2.0
"""The tools' own Python environment, outside the bundle: its folder may be read-only.

Needs nothing but the standard library, and parses under any Python 3. The environment holds the
dependencies alone; the scripts find the package beside them.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys

BUNDLE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
_PINS = os.path.join(BUNDLE, "constraints.txt")
_PROJECT = os.path.join(BUNDLE, "pyproject.toml")
_EXTRAS = ("local", "parquet", "plots", "s3", "gcs", "az", "hf", "ray")
_EPILOG = """\
Examples:
  python3.11 setup_env.py
  python3.11 setup_env.py --extras local,parquet

Prints one JSON object; start the other scripts with the "python" in it. The environment goes to
$IMAGE_GROUNDING_HOME, or else to ~/.cache/image-grounding. It is made with uv where there is
one, else with venv and pip, in the versions of constraints.txt. Run again, it is ready at once.

Exit codes: 0 ready; 2 it cannot be made, stderr says why.
"""


class SetupError(Exception):
    """The environment cannot be made; its text is fit to show to a user."""


def folder() -> str:
    """Where this bundle's environment is or will be; other versions have others."""
    from image_grounding import __version__

    digest = hashlib.sha256()
    for path in (_PROJECT, _PINS):
        with open(path, "rb") as file:
            digest.update(file.read())
    return os.path.join(home(), f"{__version__}-{digest.hexdigest()[:10]}")


def home() -> str:
    """The folder of what is kept on this machine for all bundles."""
    found = os.environ.get("IMAGE_GROUNDING_HOME") or "~/.cache/image-grounding"
    return os.path.abspath(os.path.expanduser(found))


def python_of(environment: str) -> str:
    """The Python of an environment."""
    parts = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    return os.path.join(environment, *parts)


def ready_extras(environment: str) -> "list[str] | None":
    """The extras that are installed, or None where the environment is not whole."""
    try:
        with open(_marker(environment), encoding="utf-8") as file:
            extras = json.load(file)["extras"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return extras if os.path.exists(python_of(environment)) else None


def extra_needed(what: str, extra: str) -> str:
    """What to say where ``what`` cannot be done without an extra."""
    return (
        f"{what} needs the extra {extra}; run setup_env.py --extras {extra} "
        "and use the python that it names"
    )


def main() -> None:
    """Make the environment where it is not ready, and print where it is."""
    parser = argparse.ArgumentParser(
        description="Make the Python environment that the other scripts need.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--extras",
        default="",
        metavar="A,B",
        help=f"what else to install, of {', '.join(_EXTRAS)}",
    )
    parser.add_argument("--fresh", action="store_true", help="make it anew where there is one")
    parser.add_argument("--quiet", action="store_true", help="only the JSON object on stdout")
    arguments = parser.parse_args()
    extras = [name.strip() for name in arguments.extras.split(",") if name.strip()]
    for name in extras:
        if name not in _EXTRAS:
            parser.error(f"no extra {name!r}; there are {', '.join(_EXTRAS)}")
    try:
        environment = folder()
        made_with = make(environment, extras, fresh=arguments.fresh, quiet=arguments.quiet)
    except (OSError, SetupError) as error:
        print(f"error: {error}", file=sys.stderr)
        print(json.dumps({"status": "error", "exit_code": 2, "error": str(error)}, indent=2))
        sys.exit(2)
    report = {
        "status": "ready",
        "python": python_of(environment),
        "environment": environment,
        "extras": ready_extras(environment),
        "made_with": made_with,  # null where nothing was missing
    }
    print(json.dumps(report, indent=2))


def make(
    environment: str, extras: "list[str]", *, fresh: bool = False, quiet: bool = False
) -> "str | None":
    """Make an environment with the dependencies and extras; says with which tool.

    Raises:
        SetupError: something could not be installed.
    """
    present = None if fresh else ready_extras(environment)
    if present is not None and set(extras) <= set(present):
        return None
    uv = shutil.which("uv")
    python = python_of(environment)
    if present is None:
        shutil.rmtree(environment, ignore_errors=True)  # what a killed set-up left
        if uv:
            _run([uv, "venv", "--python", sys.executable, environment], quiet)
        else:
            _run([sys.executable, "-m", "venv", environment], quiet)
    install = (
        [uv, "pip", "install", "--python", python]
        if uv
        else [python, "-m", "pip", "install", "--disable-pip-version-check"]
    )
    wanted = sorted({*extras, *(present or ())})
    packages = requirements(wanted)
    if packages:
        _run([*install, "-c", _PINS, *packages], quiet)
    with open(_marker(environment), "w", encoding="utf-8") as file:
        json.dump({"extras": wanted}, file)
    return "uv" if uv else "pip"


def requirements(extras: "list[str]") -> "list[str]":
    """The bundle's dependencies, with those of ``extras``."""
    import tomllib

    with open(_PROJECT, "rb") as file:
        project = tomllib.load(file)["project"]
    optional = project["optional-dependencies"]
    return [*project["dependencies"], *(item for name in extras for item in optional[name])]


def _marker(environment: str) -> str:
    return os.path.join(environment, "image-grounding-ready.json")


def _run(command: "list[str]", quiet: bool) -> None:
    """Run a step of the set-up; what it prints goes to stderr, with ``quiet`` only if it fails."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if quiet else sys.stderr,
        stderr=subprocess.STDOUT if quiet else None,
    )
    if done.returncode:
        if quiet:
            print(done.stdout.decode(errors="replace"), file=sys.stderr)
        step = " ".join(command[:4])
        raise SetupError(f"{step} ... ended with {done.returncode}; its own message is above")
