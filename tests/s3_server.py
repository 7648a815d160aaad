"""An S3-compatible server of the tests' own, on a port that the system chooses."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "tester",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@dataclass
class S3:
    """A running server; its buckets are made as they are asked for."""

    endpoint: str
    _made: int = field(default=0)

    def client(self) -> Any:
        keys = {name.lower(): value for name, value in CREDENTIALS.items() if "KEY" in name}
        return boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1", **keys)

    def new_bucket(self) -> str:
        self._made += 1
        name = f"bucket-{self._made}"
        self.client().create_bucket(Bucket=name)
        return name

    def keys(self, bucket: str) -> list[str]:
        return [entry["Key"] for entry in self.client().list_objects_v2(Bucket=bucket).get("Contents", [])]


@contextmanager
def running() -> Iterator[S3]:
    """A server until the end of the block."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield S3("http://{}:{}".format(*server.get_host_and_port()))
    finally:
        server.stop()
