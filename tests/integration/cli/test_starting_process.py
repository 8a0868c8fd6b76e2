"""Starts as an old init script, a Kubernetes namespace or another folder make them: the server works, or says by name why not."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.fixtures import child
from tests.fixtures.process import ScrubjayServer
from tests.fixtures.wait import wait_for
from tests.unit.cli.test_cli_starting import links

pytestmark = [pytest.mark.process, pytest.mark.timeout(400)]
FAST = {"archive.seal_age": "1s", "archive.closed_interval": "1s"}
KEYS = {
    "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
    "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
    "BillingMode": "PAY_PER_REQUEST",
}


class WrappedServer(ScrubjayServer):
    """Started by a shell that sets up its streams. how: redirections."""

    how = ""

    def command(self) -> list[str]:
        return ["sh", "-c", f"exec {shlex.join(super().command())} {self.how}"]

    def healthy(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log_tail()
        try:
            with urllib.request.urlopen(self.url + "/healthz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@pytest.mark.parametrize("how", ["<&- >&- 2>&-", "2>&-"])
def test_with_standard_streams_closed_it_archives_and_stops(tmp_path: Path, how: str) -> None:
    server = WrappedServer(tmp_path / "data", settings=FAST)
    server.how = how
    with server.log.open("ab") as log:
        server.process = subprocess.Popen(
            server.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=dict(os.environ), preexec_fn=child.die_with_parent
        )
    try:
        wait_for(server.healthy, timeout=60)
        closed = [number for number, sign in ((0, "<&-"), (1, " >&-"), (2, "2>&-")) if sign in " " + how]
        assert [str(Path(f"/proc/{server.process.pid}/fd/{number}").readlink()) for number in closed] == ["/dev/null"] * len(closed)
        client = server.client()
        client.create_table(TableName="birds", **KEYS)
        client.get_waiter("table_exists").wait(TableName="birds")
        for number in range(20):
            client.put_item(TableName="birds", Item={"k": {"S": str(number)}})
        wait_for(lambda: server.asked("archive/status", table="birds")[0] == 0, timeout=60)
        assert server.cli_json("verify")[0] == 0
    finally:
        status = server.stop()
    assert status == 0


def test_beside_a_kubernetes_service_called_scrubjay(tmp_path: Path) -> None:
    env = {**links("scrubjay", port=31999), **links("scrubjay-serve", port=31998), **links("scrubjay-archive", port=31997)}
    with ScrubjayServer(tmp_path / "data", settings=FAST, env=env) as server:
        assert server.cli_json("archive", "status")[0] in (0, 3)
        text = server.cli("archive", "status")
        assert text.stdout.startswith("cluster ")
        assert server.url in text.stdout.splitlines()[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="switches to another user")
def test_a_folder_it_may_not_write_is_named(tmp_path: Path) -> None:
    """As nobody, in a folder of root's."""
    folder = tmp_path / "mine"
    folder.mkdir(mode=0o755)

    # The checkout may lie where nobody cannot read it: the imports happen first, then the user changes.
    code = (
        "import os, sys\n"
        "from scrubjay import cli\nimport scrubjay.verbs, scrubjay.serving.dev\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "serve", "--dev", "--data", str(folder / "data"), "--port", "0", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    assert '"code": "Unavailable"' in done.stdout
    assert "Permission denied" in done.stdout
    assert "a bug" not in done.stdout
