"""How long a restore takes: predicted by measured rates, learnt from every restore that ended. Pure, but for the notes they are kept in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from scrubjay.storage.service_port import ServicePort

RATES_KEY = "restore-rates"


class Rates(NamedTuple):
    """Measured rates that predictions go by. read: raw bytes rebuilt a second per worker; load: raw bytes loaded a second per worker;
    fixed: seconds a restore takes whatever its size; samples: restores they were learnt from (0: the built-in figures).

    indexed: items put into global indexes a second, in all; indexed_fixed: seconds until the last index is read, whatever its size; indexed_samples: as samples."""

    read: float = 20e6
    load: float = 20e6
    fixed: float = 1.5
    samples: int = 0
    indexed: float = 8.5e3
    indexed_fixed: float = 0.5
    indexed_samples: int = 0


def predict(raw: Sequence[int], rates: Rates, *, workers: int) -> float:
    """Seconds until published: partitions, largest first, on `workers` workers, each read and then loaded."""
    lanes = [0.0] * max(1, workers)
    for size in sorted(raw, reverse=True):
        at = lanes.index(min(lanes))
        lanes[at] += size / rates.read + size / rates.load
    return round(rates.fixed + max(lanes), 3)


def predict_indexes(items: int, *, indexes: int, rates: Rates) -> float:
    """Seconds from when a table is published until so many global indexes of it hold all items and are read."""
    return round(rates.indexed_fixed + items * indexes / rates.indexed, 3)


SAMPLE_BYTES_MIN = 1 << 20
"""Raw bytes. A smaller restore says nothing about rates, only about the fixed part."""

_WEIGHT = 0.3


def learn(rates: Rates, *, raw: int, workers: int, read_seconds: float, load_seconds: float, total_seconds: float) -> Rates:
    """Rates after one more restore, moved towards what it took (weight 0.3; the first sample replaces the built-in figures)."""
    weight = 1.0 if rates.samples == 0 else _WEIGHT
    busy = read_seconds + load_seconds
    fixed = _towards(rates.fixed, max(0.0, total_seconds - busy), weight)
    if raw < SAMPLE_BYTES_MIN:
        return rates._replace(fixed=_towards(rates.fixed, total_seconds, weight), samples=rates.samples + 1)
    lanes = max(1, workers)
    read = _towards(rates.read, raw / lanes / max(read_seconds, 1e-3), weight)
    load = _towards(rates.load, raw / lanes / max(load_seconds, 1e-3), weight)
    return rates._replace(read=read, load=load, fixed=fixed, samples=rates.samples + 1)


SAMPLE_ITEMS_MIN = 1000
"""Items put into indexes. Fewer say nothing about the rate, only about the fixed part."""


def learn_indexes(rates: Rates, *, items: int, indexes: int, seconds: float) -> Rates:
    """Rates after the indexes of one more table were built: weights as of `learn`."""
    weight = 1.0 if rates.indexed_samples == 0 else _WEIGHT
    samples = rates.indexed_samples + 1
    if items * indexes < SAMPLE_ITEMS_MIN:
        return rates._replace(indexed_fixed=_towards(rates.indexed_fixed, seconds, weight), indexed_samples=samples)
    rate = items * indexes / max(seconds - rates.indexed_fixed, 1e-3)
    return rates._replace(indexed=_towards(rates.indexed, rate, weight), indexed_samples=samples)


def _towards(old: float, new: float, weight: float) -> float:
    return old + weight * (new - old)


def rates_of(port: ServicePort) -> Rates:
    """The rates learnt from earlier restores, or the built-in ones."""
    notes = port.jobs(RATES_KEY).get(RATES_KEY)
    try:
        return Rates() if notes is None else Rates(**{name: type(getattr(Rates(), name))(value) for name, value in notes.items()})
    except (TypeError, ValueError, AttributeError):
        return Rates()
