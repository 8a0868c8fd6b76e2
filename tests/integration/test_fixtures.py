"""The fixtures themselves: each server starts, keeps a bucket apart, refuses a lost create, and tells how it is reached."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scrubjay.base.real.free_ports import free_ports
from tests.fixtures import require
from tests.fixtures.child import die_with_parent
from tests.fixtures.releases import NoSuchRelease, lay_out
from tests.fixtures.s3 import ROOT, S3Bucket, S3Server
from tests.fixtures.small_disk import small_disk
from tests.fixtures.wait import wait_for


def test_each_server_stores_and_lists(s3_bucket: S3Bucket) -> None:
    client = s3_bucket.server.client()
    for name in ("archive/b", "archive/a/x"):
        client.put_object(s3_bucket.name, name, io.BytesIO(b"abc"), 3)
    assert s3_bucket.keys() == ["archive/a/x", "archive/b"]
    assert s3_bucket.env["AWS_ENDPOINT_URL_S3"] == s3_bucket.server.url


def test_buckets_of_two_tests_are_apart(s3_server: S3Server) -> None:
    assert s3_server.make_bucket().keys() == []
    assert s3_server.make_bucket().name != s3_server.make_bucket().name


def test_ports_are_distinct() -> None:
    assert len(set(free_ports(20, also=10_000))) == 20


def test_unavailable_skips_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRUBJAY_REQUIRE", "seaweed")
    with pytest.raises(pytest.skip.Exception, match="no binary"):
        require.unavailable("minio", "no binary")


def test_unavailable_fails_where_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRUBJAY_REQUIRE", "seaweed, minio")
    with pytest.raises(pytest.fail.Exception, match="no binary"):
        require.unavailable("minio", "no binary")


def test_a_typo_in_the_requirement_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRUBJAY_REQUIRE", "mino")
    with pytest.raises(ValueError, match="mino"):
        require.required("minio")


def test_a_small_disk_goes_with_whoever_mounted_it_however_that_ends(tmp_path: Path) -> None:
    with small_disk(tmp_path, "1m"):
        assert os.path.ismount(tmp_path)
    assert not os.path.ismount(tmp_path)
    code = "import sys, time\nfrom pathlib import Path\nfrom tests.fixtures.small_disk import small_disk\n"
    code += "with small_disk(Path(sys.argv[1]), '1m'):\n    print('mounted', flush=True)\n    time.sleep(60)\n"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT, preexec_fn=die_with_parent
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"mounted\n"
        assert os.path.ismount(tmp_path)
        other.kill()
    wait_for(lambda: not os.path.ismount(tmp_path), timeout=20)


def test_an_earlier_commit_is_laid_out_and_a_clone_that_lacks_it_says_so(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "-q", "all")
    commits = []
    for number in (1, 2):
        (tmp_path / "all" / "number").write_text(str(number))
        git("-C", "all", "add", "number")
        git("-C", "all", "commit", "-q", "-m", str(number))
        commits.append(git("-C", "all", "rev-parse", "HEAD"))
    assert (lay_out(commits[0], tmp_path / "one", root=tmp_path / "all") / "number").read_text() == "1"
    git("clone", "-q", "--depth", "1", (tmp_path / "all").as_uri(), "few")
    assert (lay_out(commits[1], tmp_path / "two", root=tmp_path / "few") / "number").read_text() == "2"
    with pytest.raises(NoSuchRelease, match=f"lacks commit {commits[0]}.*shallow"):
        lay_out(commits[0], tmp_path / "three", root=tmp_path / "few")
    with pytest.raises(NoSuchRelease, match="needs the repository's history"):
        lay_out("0" * 40, tmp_path / "four", root=tmp_path / "all")
