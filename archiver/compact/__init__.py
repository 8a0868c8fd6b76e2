"""Compaction: many small segments become one pack (docs/formats/pack.md). May import `expire` (how objects are deleted), `verify`, `write`, `read`, `coverage`, `format`.

`plan` which segments, pure and printable · `make` one pack out of its parts, every byte proven, in a worker process · `run` puts packs, proves them as they lie there, and deletes what they
took the place of · `report` the same as plain data.
"""
