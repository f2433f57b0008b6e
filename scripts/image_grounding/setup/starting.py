# SPDX-License-Identifier: Apache-2.0
"""How to start a server of one's own that does not run yet."""

import shlex
from collections.abc import Mapping
from urllib.parse import urlsplit

from image_grounding.resources import bundle_root

_MODELS = {"vllm": "Qwen/Qwen3-VL-8B-Instruct", "nim": "nvidia/cosmos-reason2-8b"}
_COMMANDS = {
    "vllm": (
        "vllm serve {model} --port {port} --max-model-len 32768 "
        "--limit-mm-per-prompt '{{\"image\": 1}}'"
    ),
    # The key by its name alone: docker takes its value from the shell.
    "nim": (
        "docker run --rm --gpus all --shm-size=16g -p {port}:8000 -e NGC_API_KEY "
        "-v ~/.cache/nim:/opt/nim/.cache nvcr.io/nim/{image}:latest"
    ),
    "tao": "the skill tao-run-inference-service starts one",
}
_REFERENCES = {"vllm": "vllm_server.md", "nim": "endpoints.md", "tao": "tao_inference_service.md"}


def how_to_start(answers: Mapping[str, str]) -> str | None:
    """A command, or a sentence, that starts the server; None where it runs or is another's."""
    endpoint = answers["endpoint"]
    if answers.get("running", "yes") == "yes" or endpoint not in _COMMANDS:
        return None
    model = answers.get("model") or _MODELS.get(endpoint, "")
    return _COMMANDS[endpoint].format(
        model=shlex.quote(model),
        image=shlex.quote(model.lower()),
        port=urlsplit(answers.get("base_url", "")).port or 8000,
    )


def reference(endpoint: str) -> str:
    """The document that says more."""
    return str(bundle_root() / "references" / _REFERENCES[endpoint])
