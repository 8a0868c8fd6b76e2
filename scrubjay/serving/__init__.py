"""`serve`: the real ports (disk, loop, trees, stores, HTTP) under the assembly of `server/`."""
