# SPDX-License-Identifier: Apache-2.0
"""llama.cpp's own HTTP server with the tiny model, in a process of its own on loopback.

``python -m support.llamacpp FOLDER KEY`` runs it; tests use ``LlamaServer``.
"""

import subprocess
import sys
from pathlib import Path

KEY = "llama-key-0123456789"
MODEL = "tiny-vlm"


class LlamaServer:
    """The server. ``with LlamaServer(folder) as server: server.base_url``."""

    def __init__(self, folder: Path) -> None:
        self._log = (folder / "server.log").open("w")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.llamacpp", str(folder), KEY],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,  # it ends when this closes, however the tests end
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self._process.stdout
        address = self._process.stdout.readline().strip()
        assert address.startswith("http"), (folder / "server.log").read_text()
        self.base_url = f"{address}/v1"

    def __enter__(self) -> "LlamaServer":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
        self._log.close()


def serve(folder: Path, key: str) -> None:
    """Serve until stdin ends; the address goes to stdout."""
    import xllamacpp

    from support.tiny_vlm import CONTEXT, write_tiny_vlm

    write_tiny_vlm(folder)
    settings = xllamacpp.CommonParams()
    settings.model.path = str(folder / "model.gguf")
    settings.mmproj.path = str(folder / "mmproj.gguf")
    settings.model_alias = {MODEL}
    settings.api_keys = [key]
    settings.hostnames = ["127.0.0.1"]
    settings.port = 0
    settings.n_parallel = 2
    settings.kv_unified = False
    settings.n_ctx = settings.n_parallel * CONTEXT
    settings.n_threads_http = 4
    settings.cpuparams.n_threads = 1
    settings.sampling.seed = 0
    settings.use_jinja = True
    settings.warmup = False
    settings.offline = True
    settings.ui = False
    server = xllamacpp.Server(settings)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2])
