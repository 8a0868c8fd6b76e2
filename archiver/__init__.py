"""The archive: the log's only copy outside the cluster, and what it proves (DESIGN section 6).

Rooms, each importing only from those to its right: `expire > verify | write > read > coverage > format` (kept by import-linter). Verifying and writing know nothing
of each other. A node is asked through `storage.archive_port` alone; nothing here imports scrubber, pitr or server.

- `format/`    what the objects are: names, codecs, checks of single objects, kinds of fault. Pure, no store.
- `coverage`   what the objects prove: window, holes, forks, paths, what may expire. One pure function; nobody else decides it. It asks `branches` which history
  counts where a log forks; `facts` are the values that both speak in.
- `read/`      looking: listings, objects proven, the one index of what is there, records, rebuild, `archive status`.
- `write/`     the agents that archive, who may write, uploads of segments, bases and closed timestamps.
- `verify/`    `verify`: prove all of it from the objects alone.
- `expire/`    retention: what may go, and taking it away.

Where is an upload verified: `write/placing.py`, `Placer.compare` (another member reads it back) and `Placer.place` (what is there already).
How is `latest` computed: `coverage.py`, `coverage` (its `Window`); of a table `table_window`.
"""
