"""Everything that puts objects into an archive. May import `read`, `coverage` and `format`, never `verify`.

`probe` whether a store can be trusted · `attach` whose archive a prefix is · `claiming`, `meeting`, `writer` who writes, and whether our log continues what is
there · `agent` one per node: which segment when, and what is told of it; `settling` one segment: that it is archived and equal to the WAL · `outgoing` the
checks before a segment leaves, `placing` the upload, the comparison with what is there, generations · `publishing` closed timestamps · `bases` base snapshots: when, what, and the upload ·
`agent_state` what an agent is told, counts, can and cannot do, as values.
"""
