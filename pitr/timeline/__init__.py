"""Time travel without a restore: what an item was (`history`), what changed between two moments (`diff`), and putting that back (`undo`).

Read in this order. Pure: `selection` (which keys), `what_to_read` (which objects tell of two moments), `versions` (one key's records in a segment), `changes` (two
sorted states into what differs), `outcome` (what an undo may do with one key). In workers: `jobs`, over the replay that restores use. What coordinates:
`looking` (both ends proven to be in the archive), `results` (what was found and is fetched page by page), `undo` (the conditional writes), `service` (the verbs).

It reads the archive and never the live tables; an end behind what is proven is sealed and awaited first, as a restore does. Only an undo meets a live table,
and what it writes a leader takes only where the item still is what it was.
"""
