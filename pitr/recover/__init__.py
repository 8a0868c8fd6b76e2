"""The whole cluster from its archive alone (ADR 0033): `moment` which instant all of it is proven at, `parent` what the archive says, `choose` the two
together, `parent_source` the archive as a restore wants it, `run` one restore per table into the new cluster. What decides is what a restore decides by."""
