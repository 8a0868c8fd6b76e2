"""Whether the process that SCRUBJAY_ENDPOINT names would serve now: exit 0, else 1. The health check of docker-compose.yml."""

from __future__ import annotations

import os
import sys
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

WAIT_S = 4


def main() -> int:
    try:
        with build_opener(ProxyHandler({})).open(f"{os.environ['SCRUBJAY_ENDPOINT']}/healthz", timeout=WAIT_S) as answer:
            return 0 if answer.status == 200 else 1
    except (URLError, OSError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
