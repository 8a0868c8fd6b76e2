"""Mutants of the object stores: S3, a folder, and the wrapper that tries again."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

MUTANTS: list[Mutant] = [
    Mutant(
        "retry-any-exists",
        "base/wrap/retry.py",
        "                if not same:\n                    raise\n",
        "                pass\n",
        ("tests/unit/archiver/test_store_wrappers.py::test_somebody_elses_object_is_a_conflict_after_a_lost_answer_too",),
    ),
    Mutant(
        "retry-everything",
        "base/wrap/retry.py",
        "            except Unavailable as error:\n",
        "            except Exception as error:\n",
        ("tests/unit/archiver/test_store_wrappers.py::test_permanent_errors_are_not_retried",),
    ),
    Mutant(
        "retry-without-end",
        "base/wrap/retry.py",
        "                if attempt >= most:\n",
        "                if attempt >= most * 10:\n",
        ("tests/unit/archiver/test_store_wrappers.py::test_retries_are_bounded_and_spread",),
    ),
    Mutant(
        "s3-409-exists",
        "base/real/s3_errors.py",
        'if code == "PreconditionFailed":',
        'if code == "PreconditionFailed" or answer.status == 409:',
        (
            "tests/contract/test_s3_wrong_answers.py::test_a_refusal_has_a_name_and_says_what_to_do",
            "tests/contract/test_s3_wrong_answers.py::test_a_page_of_something_on_the_way_says_nothing_about_objects",
        ),
    ),
    Mutant(
        "s3-404-missing",
        "base/real/s3_errors.py",
        'if code in ("NoSuchKey", "NoSuchVersion"):',
        'if code in ("NoSuchKey", "NoSuchVersion") or answer.status == 404:',
        ("tests/contract/test_s3_wrong_answers.py::test_a_page_of_something_on_the_way_says_nothing_about_objects",),
    ),
    Mutant(
        "s3-listing-unchecked",
        "base/real/s3.py",
        "        _check_listing(answer, request, prefix)\n",
        "",
        ("tests/contract/test_s3_wrong_answers.py::test_a_200_that_is_no_listing_is_no_listing",),
    ),
    Mutant(
        "s3-listing-count-unchecked",
        "base/real/s3.py",
        '    if "KeyCount" in answer and answer["KeyCount"] != len(entries):\n',
        "    if False:\n",
        ("tests/contract/test_s3_wrong_answers.py::test_a_200_that_is_no_listing_is_no_listing",),
    ),
    Mutant(
        "s3-endpoint-of-somebodys-login",
        "base/real/s3.py",
        '            "aws_endpoint_url_s3": endpoint,',
        "           ",
        ("tests/contract/test_s3_access.py::test_the_endpoint_of_the_configuration_wins_over_the_environments",),
    ),
    Mutant(
        "s3-page-is-an-object",
        "base/real/s3.py",
        'if meta["e_tag"] is None or kind.startswith("text/html"):',
        "if False:",
        ("tests/contract/test_s3_wrong_answers.py::test_a_page_of_something_on_the_way_says_nothing_about_objects",),
    ),
    Mutant(
        "localfs-gone-is-empty",
        "base/real/localfs.py",
        "        elif self._known:\n            raise _gone(self.root, key)\n",
        "",
        ("tests/unit/real/test_localfs.py::test_a_folder_that_went_is_neither_empty_nor_made_anew",),
    ),
    Mutant(
        "localfs-gone-is-made-anew",
        "base/real/localfs.py",
        "        while folder != self.root and not folder.is_dir():\n",
        "        while not folder.is_dir():\n",
        ("tests/unit/real/test_localfs.py::test_a_folder_that_goes_in_the_middle_of_a_put_is_not_made_anew",),
    ),
    Mutant(
        "localfs-folder-unsynced",
        "base/real/localfs.py",
        "                temporary.unlink(missing_ok=True)\n            sync_folder(target.parent)\n",
        "                temporary.unlink(missing_ok=True)\n",
        ("tests/unit/archiver/test_store_wrappers.py::test_the_object_and_its_folders_are_synced_before_the_answer",),
    ),
    Mutant(
        "localfs-new-archive-unsynced",
        "base/real/localfs.py",
        "                make_folder(self.root)\n",
        "                self.root.mkdir(parents=True)\n",
        ("tests/unit/archiver/test_store_wrappers.py::test_the_object_and_its_folders_are_synced_before_the_answer",),
    ),
    Mutant(
        "a-pipe-is-an-object",
        "base/real/localfs.py",
        "                if S_ISREG(facts.st_mode):\n",
        "                if True:\n",
        ("tests/unit/real/test_localfs.py::test_what_is_no_file_is_no_object",),
    ),
    Mutant(
        "a-device-has-a-head",
        "base/real/localfs.py",
        "        return ObjectInfo(key, facts.st_size) if S_ISREG(facts.st_mode) else None\n",
        "        return None if path.is_dir() else ObjectInfo(key, facts.st_size)\n",
        ("tests/unit/real/test_localfs.py::test_what_is_no_file_is_no_object",),
    ),
    Mutant(
        "a-device-is-read",
        "base/real/localfs.py",
        "                if not S_ISREG(os.fstat(file.fileno()).st_mode):\n",
        "                if False:\n",
        ("tests/unit/real/test_localfs.py::test_what_is_no_file_is_no_object",),
    ),
]
