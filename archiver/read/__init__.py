"""Looking into an archive. May import `coverage` and `format`; writes nothing, and says nothing of what it did not read.

`names` listings · `objects` one object, proven, of its generations the highest that verifies · `epochs` whom to believe · `manifests` which listed objects can
be used · `rows` what is kept in memory of one · `partition` the facts and the verdict of one partition · `index` the whole archive, the one catalogue of
objects that every reader asks · `suspects` what was read and found bad · `check` whole objects against their manifests · `replay`, `rebuild` the one engine of
scrub, restore and recovery · `reader` records instead of state · `status` the answer of `archive status`.
"""
