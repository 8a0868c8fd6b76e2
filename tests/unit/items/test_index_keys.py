"""What indexes, local and global alike, ask of the items that are written."""

from __future__ import annotations

import pytest

from scrubjay.base.ids import TableId
from scrubjay.storage.catalogue import GlobalIndex, KeyAttribute, KeySchema, LocalIndex, TableMeta
from scrubjay.storage.items.encoding import encode_item
from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.index_keys import IndexKeys
from scrubjay.storage.items.values import Item

INVALID = "One or more parameter values were invalid: "
EMPTY = "One or more parameter values are not valid. A value specified for a secondary index key is not supported. "
LOCAL = (LocalIndex("keys", KeyAttribute("t", "S"), "KEYS_ONLY"), LocalIndex("some", KeyAttribute("b", "B")))
GLOBAL = (
    GlobalIndex(name="one", hash=(KeyAttribute("t", "S"),), sort=(KeyAttribute("n", "N"),), status="ACTIVE"),
    GlobalIndex(name="many", hash=(KeyAttribute("h", "S"), KeyAttribute("i", "S")), sort=(KeyAttribute("t", "S"), KeyAttribute("b", "B"))),
)


def keys(**indexes: object) -> IndexKeys:
    found = IndexKeys.of_table(
        TableMeta(
            table_id=TableId("t"), name="t", status="ACTIVE", key=KeySchema(KeyAttribute("p", "S"), KeyAttribute("s", "S")),
            attributes=(), partitions=(), created_at=0, **indexes,  # type: ignore[arg-type]
        )
    )  # fmt: skip
    assert found is not None
    return found


def item_of(**more: tuple[str, object]) -> Item:
    return {"p": ("S", "one"), "s": ("S", "k"), **more}


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (item_of(t=("N", "1")), f"{INVALID}Type mismatch for Index Key t Expected: S Actual: N IndexName: "),
        (
            item_of(t=("S", "")),
            f"{EMPTY}The AttributeValue for a key attribute cannot contain an empty string value. IndexName: {{}}, IndexKey: t",
        ),
        (
            item_of(b=("B", b"")),
            f"{EMPTY}The AttributeValue for a key attribute cannot contain an empty binary value. IndexName: {{}}, IndexKey: b",
        ),
    ],
)
def test_what_cannot_be_a_key_is_refused_in_the_words_of_dynamodb(item: Item, message: str) -> None:
    for found, names in ((keys(local_indexes=LOCAL), ("keys", "some")), (keys(global_indexes=GLOBAL), ("one", "many"))):
        with pytest.raises(ItemError) as refused:
            found.check_put(item)
        assert any(refused.value.message in (message.format(name), message + name) for name in names), refused.value.message


@pytest.mark.parametrize(
    ("indexes", "item", "limit"),
    [
        ({"local_indexes": LOCAL}, item_of(t=("S", "x" * 1025)), 1024),
        ({"global_indexes": GLOBAL[:1]}, item_of(t=("S", "x" * 2049)), 2048),
        ({"global_indexes": GLOBAL[1:]}, item_of(h=("S", "x" * 1000), i=("S", "x" * 1049)), 2048),
        ({"global_indexes": GLOBAL[1:]}, item_of(t=("S", "x" * 1000), b=("B", b"x" * 26)), 1024),
    ],
    ids=["local", "hash", "hash-together", "sort-together"],
)
def test_a_key_is_no_longer_than_a_tables_all_its_attributes_together(indexes: dict[str, object], item: Item, limit: int) -> None:
    found = keys(**indexes)
    with pytest.raises(ItemError, match=rf"maximum size limit of{limit} bytes|has exceeded the size limit of {limit} bytes"):
        found.check_put(item)
    with pytest.raises(ItemError, match="secondary index key beyond allowed size limits"):
        found.check_updated(encode_item(item))
    shorter = {name: (kind, value[:-25] if name not in "ps" else value) for name, (kind, value) in item.items()}  # type: ignore[index]
    found.check_put(shorter)
    found.check_updated(encode_item(shorter))


def test_an_item_may_lack_what_is_a_key_of_an_index() -> None:
    for found in (keys(local_indexes=LOCAL), keys(global_indexes=GLOBAL)):
        found.check_put(item_of())
        found.check_updated(encode_item(item_of()))


def test_what_an_update_makes_of_a_key_is_refused_in_other_words() -> None:
    for found in (keys(local_indexes=LOCAL), keys(global_indexes=GLOBAL)):
        with pytest.raises(ItemError) as refused:
            found.check_updated(encode_item(item_of(t=("N", "1"))))
        assert refused.value.message == "The update expression attempted to update the secondary index key to unsupported type"
        with pytest.raises(
            ItemError, match=r"to a value that is not supported\. The AttributeValue for a key attribute cannot contain an empty string"
        ):
            found.check_updated(encode_item(item_of(t=("S", ""))))


def test_an_index_that_is_being_removed_asks_for_nothing() -> None:
    going = GlobalIndex(name="going", hash=(KeyAttribute("t", "S"),), status="DELETING")
    keys(global_indexes=(going, GLOBAL[1])).check_put(item_of(h=("S", "x"), i=("S", "x")))
    with pytest.raises(AssertionError):
        keys(global_indexes=(going,))
