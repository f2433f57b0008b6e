# SPDX-License-Identifier: Apache-2.0
"""A server that speaks S3 over real HTTP on the loopback interface, and counts its requests."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config
from moto.backends import get_backend
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

KEYS = {
    "AWS_ACCESS_KEY_ID": "access-key-of-this-test",
    "AWS_SECRET_ACCESS_KEY": "secret-key-of-this-test",
    "AWS_DEFAULT_REGION": "us-east-1",
}
BUCKET = "pictures"


@dataclass
class Bucket:
    """A bucket on a server.

    Attributes:
        url: of the server.
        client: to fill the bucket with.
        seen: the requests since it was cleared: method and path.
        fault: called with each; an HTTP status to answer in place of the server's answer.
    """

    url: str
    client: Any
    seen: list[tuple[str, str]] = field(default_factory=list)
    fault: Any = None

    @property
    def environment(self) -> dict[str, str]:
        """What a script needs to find the server."""
        return {**KEYS, "AWS_ENDPOINT_URL": self.url, "AWS_MAX_ATTEMPTS": "1"}

    def put(self, key: str, data: bytes) -> None:
        """Store an object."""
        self.client.put_object(Bucket=BUCKET, Key=key, Body=data)

    def counts(self) -> Counter[str]:
        """How many requests of each method have come."""
        return Counter(method for method, _ in self.seen)


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *_: Any) -> None:
        pass


@contextmanager
def serving() -> Iterator[Bucket]:
    """A server with one empty bucket."""
    get_backend("s3").reset()  # what it holds is the process's
    app = DomainDispatcherApplication(create_backend_app)
    bucket: Bucket | None = None

    def counted(environ: dict[str, Any], start: Any) -> Any:
        if bucket and not environ.get("HTTP_X_UNCOUNTED"):
            path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
            bucket.seen.append((environ["REQUEST_METHOD"], path))
            status = bucket.fault(*bucket.seen[-1]) if bucket.fault else None
            if status:
                start(f"{status} Injected", [("Content-Length", "0")])
                return []
        return app(environ, start)

    server = make_server("127.0.0.1", 0, counted, threaded=True, request_handler=_Quiet)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    url = f"http://127.0.0.1:{server.port}"
    client = boto3.client(
        "s3", endpoint_url=url, aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"], region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )  # fmt: skip
    client.meta.events.register("before-send.s3", _mark)
    client.create_bucket(Bucket=BUCKET)
    bucket = Bucket(url, client)
    try:
        yield bucket
    finally:
        server.shutdown()
        server.server_close()


def _mark(request: Any, **_: Any) -> None:
    request.headers["X-Uncounted"] = "yes"
