"""Everything that puts objects into an archive. May import `read`, `coverage` and `format`, never `verify`.

`probe` whether a store can be trusted · `attach` whose archive a prefix is · `claiming`, `meeting`, `writer` who writes, and whether our log continues what is
there · `agent` one per node: takes sealed segments, sees to it that each is archived and equal to the WAL · `outgoing` the checks before a segment leaves,
`placing` the upload, the comparison with what is there, generations · `publishing` closed timestamps · `bases` base snapshots: when, what, and the upload ·
`agent_state` what an agent can and cannot do, as a value.
"""
