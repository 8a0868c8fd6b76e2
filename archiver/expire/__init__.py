"""Retention: what has outlived every window leaves the archive. May import `write` (in whose name), `read`, `coverage` and `format`.

`lived` which time counts · `plan` what may go, what is held and by what, what is refused: pure and printable · `report` the same as plain data · `run` carries a plan out: says what
goes (`expired/`), then deletes, manifests first; whatever it is cut off at, the next run goes on.
"""
