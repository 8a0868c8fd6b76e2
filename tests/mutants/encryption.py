"""Mutants of this room: encryption of an archive, its keys, and whoever reads what is sealed."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

HEALING = "tests/unit/archiver/test_sealed_healing.py::test_what_is_told_and_mended_in_a_plain_archive_is_in_a_sealed_one"

MUTANTS: list[Mutant] = [
    Mutant(
        "seal-not-bound-to-its-name",
        "base/sealed.py",
        "data[: HEADER.size] + name.encode()",
        'data[: HEADER.size] + b""',
        ("tests/property/base/test_sealed.py::test_an_object_lies_under_its_own_name_alone",),
    ),
    Mutant(
        "seal-head-unchecked",
        "base/sealed.py",
        "or crc32c_masked(data[: HEADER.size - 4]) != crc",
        "or False",
        ("tests/property/base/test_sealed.py::test_every_single_bit_that_flips_is_rot_and_nothing_else",),
    ),
    Mutant(
        "seal-magic-rots-into-plain",
        "base/sealed.py",
        "if len(data) >= HEADER.size and _CRC",
        "if False and _CRC",
        ("tests/property/base/test_sealed.py::test_every_single_bit_that_flips_is_rot_and_nothing_else",),
    ),
    Mutant(
        "seal-any-key-of-that-id",
        "base/sealed.py",
        "if not hmac.compare_digest(key.check, check):",
        "if False:",
        ("tests/property/base/test_sealed.py::test_a_key_that_is_lost_or_another_one_is_told_by_its_id",),
    ),
    Mutant(
        "seal-names-by-any-key",
        "base/sealed.py",
        "if naming != ring.naming:",
        "if False:",
        ("tests/property/base/test_sealed.py::test_a_key_that_is_lost_or_another_one_is_told_by_its_id",),
    ),
    Mutant(
        "encrypted-believes-plain",
        "base/wrap/encrypted.py",
        "        if self._ring is None and not data.startswith(MAGIC):\n",
        "        if not data.startswith(MAGIC):\n",
        ("tests/unit/archiver/test_encrypted_store.py::test_a_plain_object_in_an_encrypted_archive_is_forged",),
    ),
    Mutant(
        "encrypted-lists-kept-sizes",
        "base/wrap/encrypted.py",
        "max(0, info.size - OVERHEAD)",
        "info.size",
        ("tests/unit/archiver/test_encrypted_store.py::test_names_and_sizes_are_seen_as_without",),
    ),
    Mutant(
        "encrypted-lists-in-kept-order",
        "base/wrap/encrypted.py",
        "for one in sorted(same):\n                        if",
        "for one in same:\n                        if",
        ("tests/unit/archiver/test_encrypted_store.py::test_names_that_differ_in_their_hash_alone_are_listed_in_order_and_page_by_page",),
    ),
    Mutant(
        "no-key-asked-for-again",
        "base/wrap/retry.py",
        "            except NoKey:\n                raise",
        "            except NoKey if False else ():\n                raise",
        ("tests/unit/archiver/test_encrypted_store.py::test_a_lost_key_is_not_asked_for_again_and_is_no_trouble_of_the_store",),
    ),
    Mutant(
        "no-key-starts-without-the-archive",
        "archiver/write/attach.py",
        "    except NoKey as error:\n        raise without_key(error, store) from error\n",
        "    except ():\n        raise\n",
        ("tests/unit/archiver/test_encrypted_store.py::test_a_server_is_refused_that_has_not_the_archives_keys",),
    ),
    Mutant(
        "no-key-stops-verify",
        "archiver/verify/run.py",
        "        except NoKey as error:\n",
        "        except () as error:\n",
        ("tests/unit/archiver/test_encrypted_store.py::test_a_lost_key_is_unverified_with_its_id_and_no_finding",),
    ),
    Mutant(
        "key-file-open-to-all",
        "base/real/key_sources.py",
        "if mode & 0o027:",
        "if False:",
        ("tests/unit/real/test_key_sources.py::test_a_file_that_is_open_to_others_is_refused",),
    ),
    Mutant(
        "sealed-rot-stops-an-upload",
        "archiver/write/placing.py",
        "        except Corrupt as error:\n            return Bad(generation, key, error.kind",
        '        except Corrupt as error:\n            if error.fields["what"] == "seal":\n                raise\n            return Bad(generation, key, error.kind',
        (f"{HEALING}[test_a_spoilt_upload_is_never_archived_and_written_anew-0]",),
    ),
    Mutant(
        "sealed-rot-stops-a-base",
        "archiver/write/bases.py",
        "        return await store.get(key)\n    except (Missing, Corrupt):",
        "        return await store.get(key)\n    except Missing:",
        (f"{HEALING}[test_a_base_is_read_back_before_it_counts-0]",),
    ),
    Mutant(
        "sealed-rot-stops-a-start",
        "archiver/write/attach.py",
        "    except Corrupt as error:\n",
        '    except Corrupt as error:\n        if error.fields["what"] == "seal":\n            raise\n',
        (f"{HEALING}[test_a_rotted_identity_is_no_reason_to_stop-0]",),
    ),
    Mutant(
        "sealed-rot-ends-a-verify",
        "archiver/verify/partition.py",
        "            except (Missing, Corrupt):\n                continue",
        "            except Missing:\n                continue",
        (f"{HEALING}[test_rows_of_a_base_that_rotted_beside_a_manifest_that_is_gone_end_no_verify-0]",),
    ),
    Mutant(
        "sealed-rot-stops-a-retried-create",
        "base/wrap/retry.py",
        "                except Corrupt:\n",
        "                except ():\n",
        ("tests/unit/archiver/test_encrypted_store.py::test_what_rotted_while_the_answer_of_its_create_was_lost_is_not_ours_any_more",),
    ),
    Mutant(
        "sealed-rot-is-another-archive-to-a-worker",
        "base/real/fleet_worker.py",
        "        except Corrupt:\n            pass",
        "        except ():\n            pass",
        ("tests/unit/real/test_fleet_host.py::test_an_identity_that_rotted_is_the_same_archive_all_the_same",),
    ),
]
