"""A table of a scratch cluster whose content is known exactly: what was acknowledged, and nothing else, is in the model."""

from __future__ import annotations

from typing import Any

from scrubjay.base.errors import Unavailable
from scrubjay.client import AdminClient
from scrubjay.drills.model import Item, Key, Model, canonical, compare, key_item, key_of
from scrubjay.machine import monotonic_s, pause
from scrubjay.scratch.client import create_table, delete_keys, dynamodb, put_items, scan
from scrubjay.scratch.rehearsal import Rehearsal
from scrubjay.scratch.server import Server

TABLE = "drill"
GROUPS = 16
"""Partition keys among which the items are spread."""
TOLD_MAX = 5


class ModelTable:
    """server: whoever serves the table now."""

    def __init__(self, rehearsal: Rehearsal, server: Server) -> None:
        self._rehearsal, self.server = rehearsal, server
        self.model: Model = {}
        self._made = 0

    def fill(self, rows: int) -> None:
        """Make the table, and so many items."""
        create_table(self.server.endpoint, TABLE)
        self.put([self.item() for _ in range(rows)])

    def item(self, key: Key | None = None) -> Item:
        """A new item, or a new one under that key. Its remark is nowhere else."""
        self._made += 1
        while key is None:  # a model may have come with items that were made elsewhere
            new = (f"group-{self._made % GROUPS:02}", f"item-{self._made:08}")
            key = new if new not in self.model else None
            self._made += key is None
        country, city = key
        dice = self._rehearsal.dice
        return {
            "country": {"S": country},
            "city": {"S": city},
            "remark": {"S": f"number {self._made:08} of the drill, {dice.below(1 << 32):08x}{dice.below(1 << 32):08x}"},
            "population": {"N": str(dice.below(10_000_000))},
        }

    def put(self, items: list[Item]) -> None:
        put_items(self.server.endpoint, TABLE, items)
        self.model.update((key_of(one), canonical(one)) for one in items)

    def change(self, count: int) -> None:
        """So many items of each: new, written again, deleted; whichever the dice draw."""
        keys = sorted(self.model)
        drawn = [keys.pop(self._rehearsal.dice.below(len(keys))) for _ in range(min(2 * count, len(keys)))]
        self.put([*(self.item() for _ in range(count)), *(self.item(key) for key in drawn[:count])])
        delete_keys(self.server.endpoint, TABLE, drawn[count:])
        for key in drawn[count:]:
            del self.model[key]

    def first_write(self, *, within_s: float = 60.0) -> None:
        """Returns as soon as one is acknowledged. Raises Unavailable."""
        from botocore.exceptions import BotoCoreError, ClientError

        deadline = monotonic_s() + within_s
        item = self.item()
        while True:
            try:
                dynamodb(self.server.endpoint).put_item(TableName=TABLE, Item=item)
            except (BotoCoreError, ClientError) as error:
                if monotonic_s() > deadline:
                    raise Unavailable(f"no write was taken within {within_s:.0f} s: {error}") from error
                pause(0.05)
            else:
                self.model[key_of(item)] = canonical(item)
                return

    def compare(self, when: str) -> None:
        """Every item that the front door gives, both ways."""
        found = scan(self.server.endpoint, TABLE, 0, 1)
        difference = compare(self.model, found)
        self._rehearsal.outcome.rows_compared += len(set(self.model) | set(found))
        for what in ("lacking", "different", "extra"):
            for key in getattr(difference, what)[:TOLD_MAX]:
                self._rehearsal.differs(f"{when}: {what} {key_item(key)}")

    def status(self) -> dict[str, Any]:
        return AdminClient(self.server.endpoint).get("status")

    def problems(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.status()["problems"]
        return found

    def archived(self) -> bool:
        """Everything that was acknowledged is in the archive."""
        report = AdminClient(self.server.endpoint).get("archive/status")
        return bool(report["tables"]) and all(one["unarchived_bytes"] == 0 for one in report["tables"])

    def wait_archived(self) -> None:
        self._rehearsal.until("everything is archived", self.archived)
