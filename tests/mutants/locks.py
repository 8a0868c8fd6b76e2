"""Mutants of versions and locks: what stands over an object, what deletion frees, what a lock holds and for how long."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

S3 = "base/real/s3_versions.py"
CONTRACT = "tests/contract/test_s3_versions.py::"
RECALLED = "tests/unit/archiver/test_recalled.py::"

MUTANTS: list[Mutant] = [
    Mutant(
        "versions-any-bytes",
        S3,
        "            if self._ours(key, data, mark):",
        "            if True:",
        (CONTRACT + "test_of_what_was_written_over_the_version_that_was_put_is_read",),
    ),
    Mutant(
        "versions-plain-deletion",
        S3,
        "            self._known = _Known(True, time.monotonic())\n            marker",
        "            return\n            marker",
        (
            CONTRACT + "test_deletion_takes_every_version_and_marker",
            CONTRACT + "test_versions_that_are_switched_on_meanwhile_are_noticed",
        ),
    ),
    Mutant(
        "versions-marker-left-by-a-refusal",
        S3,
        "            await self._run(lambda client: client.delete_object(Bucket=self._bucket, Key=self._prefix + key, VersionId=marker), key)\n",
        "            assert marker\n",
        (CONTRACT + "test_what_is_put_is_locked_and_stays_as_it_was_when_it_cannot_go",),
    ),
    Mutant(
        "versions-neighbours-go-too",
        S3,
        "return [one for one in await self._listed(full) if one.key == full]",
        "return await self._listed(full)",
        (CONTRACT + "test_deletion_takes_every_version_and_marker",),
    ),
    Mutant(
        "lock-pins-too",
        S3,
        'FREE = re.compile(r"probe/.*|settle|[^/]+/(pins|index)/.*")',
        'FREE = re.compile(r"probe/.*|settle")',
        (CONTRACT + "test_what_is_put_is_locked_and_stays_as_it_was_when_it_cannot_go",),
    ),
    Mutant(
        "lock-shortened",
        S3,
        "            if until is not None and until >= _moment(until_us):\n                return\n",
        "",
        (CONTRACT + "test_what_is_put_is_locked_and_stays_as_it_was_when_it_cannot_go",),
    ),
    Mutant(
        "lock-unprobed",
        "archiver/write/probe.py",
        "        await _lock(store, folder)\n",
        "",
        (CONTRACT + "test_the_probe_takes_a_bucket_that_locks_and_refuses_one_that_does_not",),
    ),
    Mutant(
        "lock-of-a-folder",
        "scrubjay/config.py",
        'archive.object_lock != "none" and not config.archive_url.startswith("s3://"),',
        "False,",
        ("tests/unit/cli/test_cli_config.py::test_an_object_lock_is_one_of_three_and_of_a_bucket",),
    ),
    Mutant(
        "covered-not-listed",
        "base/older_versions.py",
        "            found[key] = ObjectInfo(key, self._found[key][1])\n",
        "            pass\n",
        (CONTRACT + "test_a_marker_over_an_object_is_seen_and_the_object_is_read",),
    ),
    Mutant(
        "covered-head-blind",
        "base/real/s3.py",
        "            return await self._versions.seen(key)",
        "            return None",
        (CONTRACT + "test_a_marker_over_an_object_is_seen_and_the_object_is_read",),
    ),
    Mutant(
        "covered-untold-by-verify",
        "archiver/verify/partition.py",
        "        self._round.covered(prefix, _nothing if index.beginning is None else index.beginning.took)\n",
        "",
        (RECALLED + "test_what_stands_over_an_object_is_found_and_named_and_nothing_else_is",),
    ),
    Mutant(
        "covered-elsewhere-untold",
        "archiver/verify/run.py",
        "                self._round.elsewhere()\n",
        "",
        (RECALLED + "test_a_whole_archive_that_was_deleted_is_read",),
    ),
    Mutant(
        "covered-not-looked-for",
        "archiver/read/index.py",
        "        if not known and not draft.damaged():",
        "        if not known:",
        (RECALLED + "test_a_window_has_no_hole_where_a_version_is_read_and_status_says_so",),
    ),
    Mutant(
        "covered-for-ever",
        "archiver/read/index.py",
        "        if not known and not draft.damaged():",
        "        if not draft.damaged():",
        (RECALLED + "test_a_window_has_no_hole_where_a_version_is_read_and_status_says_so",),
    ),
    Mutant(
        "covered-suspect",
        "archiver/read/index.py",
        "            if key is None or name in self._store.recalled(name):",
        "            if key is None:",
        (RECALLED + "test_a_window_has_no_hole_where_a_version_is_read_and_status_says_so",),
    ),
    Mutant(
        "covered-untold-by-status",
        "archiver/read/archive_status.py",
        "index.found_of(table.table_id, partition)",
        "index.suspects.of(table.table_id, partition)",
        (RECALLED + "test_a_window_has_no_hole_where_a_version_is_read_and_status_says_so",),
    ),
    Mutant(
        "covered-expired-under",
        "archiver/expire/plan.py",
        "    if not over or plan.whole or",
        "    if over or plan.whole or",
        (RECALLED + "test_retention_takes_nothing_away_where_something_stands_over_an_object",),
    ),
    Mutant(
        "covered-cluster-unknown",
        "archiver/read/names.py",
        """        await store.uncover("" if asked is None else f"{asked}/")\n""",
        "",
        (RECALLED + "test_a_whole_archive_that_was_deleted_is_read",),
    ),
    Mutant(
        "covered-names-sealed",
        "base/wrap/encrypted.py",
        "        found = {true_name(self._ring, kept): one for",
        "        found = {kept: one for",
        ("tests/unit/archiver/test_encrypted_store.py::test_what_stands_over_a_sealed_object_has_its_true_name",),
    ),
]
