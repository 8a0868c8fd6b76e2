"""What it costs to send a command and its answer between processes: µs to encode and to decode, and bytes, on an item of about 900 bytes.

    python -m bench.bench_commands [--rounds 7]

Inside one process nothing of this is paid. Median of the rounds, with the worst; the figures of evaluation stand beside them for scale.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

from bench.bench_api import ITEM
from scrubjay.storage.commands.codec import decode_answer, decode_command, encode_answer, encode_command
from scrubjay.storage.commands.evaluate import evaluate
from scrubjay.storage.commands.values import Decision, DeleteCommand, PutCommand, UpdateCommand, WriteAnswer, WriteCommand
from scrubjay.storage.items.encoding import encode_item
from scrubjay.storage.items.expressions import parse_condition, parse_update
from scrubjay.storage.items.wire import item_from_json

COUNT = 5_000


def commands() -> dict[str, WriteCommand]:
    item = item_from_json(ITEM)
    key_item = encode_item({"pk": item["pk"], "sk": item["sk"]})
    key = bytes(16) + b"order#2026-11-22T15:00:00Z"
    data = encode_item(item)
    absent = parse_condition("attribute_not_exists(pk)")
    present = parse_condition("attribute_exists(pk) AND amount < :most", None, {":most": ("N", "9999")})
    increment = parse_update("SET #c = #c + :one", {"#c": "count"}, {":one": ("N", "1")})
    return {
        "put": PutCommand(key, key_item, data, blind=True),
        "conditional put": PutCommand(key, key_item, data, absent),
        "update": UpdateCommand(key, key_item, increment),
        "conditional update": UpdateCommand(key, key_item, increment, present),
        "delete": DeleteCommand(key, key_item),
    }


def micros(step: Callable[[], object], rounds: int) -> tuple[float, float]:
    """(median, worst) µs of CPU."""
    took = []
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(COUNT):
            step()
        took.append((time.process_time() - began) / COUNT * 1e6)
    return statistics.median(took), max(took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    old = encode_item(item_from_json(ITEM))
    print(f"{'':20}{'encode':>16}{'decode':>16}{'bytes':>8}{'evaluate':>16}")
    for name, command in commands().items():
        data = encode_command(command)
        assert decode_command(data) == command
        outcome = evaluate(command, None if command.blind else old)
        rows = [(name, lambda one=command: encode_command(one), lambda one=data: decode_command(one), data)]
        answer = WriteAnswer(outcome, "p" * 36, 7, 1 if outcome.decision in (Decision.PUT, Decision.DELETE) else None)
        said = encode_answer(answer)
        rows.append(("  its answer", lambda one=answer: encode_answer(one), lambda one=said: decode_answer(one), said))
        for label, encode, decode, sent in rows:
            line = f"{label:20}"
            for step in (encode, decode):
                line += "{:>8.2f} ≤{:>5.2f}  ".format(*micros(step, options.rounds))
            line += f"{len(sent):>6}"
            if label == name:
                line += "{:>8.2f} ≤{:>5.2f}".format(*micros(lambda one=command: evaluate(one, old), options.rounds))
            print(line)


if __name__ == "__main__":
    main()
