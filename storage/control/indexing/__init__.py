"""Global indexes (ADR 0071): `feeding` brings one partition's changes into one index, `feeds` runs the feeds of what this process is to feed, `keeper` sees indexes through their life:
made, filled, built anew, gone. What an index's table makes of what it is fed: `storage.indexes`."""
