"""Make a bucket on the S3 server named by the usual AWS variables, waiting for the server to come up. Used by docker-compose.yml, once.

Exit 0 when the bucket is there, 1 if the server did not answer within a minute.
"""

from __future__ import annotations

import os
import sys
import time
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.error import MinioException

WAIT_S = 60


def main() -> int:
    """Make the bucket named on the command line."""
    bucket = sys.argv[1]
    endpoint = urlsplit(os.environ["AWS_ENDPOINT_URL_S3"])
    client = Minio(
        endpoint.netloc,
        access_key=os.environ["AWS_ACCESS_KEY_ID"],
        secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        region=os.environ.get("AWS_REGION", "us-east-1"),
        secure=endpoint.scheme == "https",
        http_client=urllib3.PoolManager(timeout=urllib3.Timeout(connect=2, read=10), retries=False),
    )
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            if not client.bucket_exists(bucket):
                client.make_bucket(bucket)
        except (MinioException, urllib3.exceptions.HTTPError) as error:
            if time.monotonic() > deadline:
                print(f"{endpoint.geturl()} did not answer: {error}", file=sys.stderr)
                return 1
            time.sleep(0.2)
        else:
            return 0


if __name__ == "__main__":
    sys.exit(main())
