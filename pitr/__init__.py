"""Point-in-time restore: a table as it was at a moment, into a new table, published only once every copy is proven.

Read in this order. The moment: `target` (what was asked; exactly one), `window` (between which moments it may lie). What is read: `plan`, which asks
`archiver.coverage`, the one chooser of bases and segments; `rates` (how long it takes). The proof: `confirm`. All of these are pure.

What coordinates: `prepare` (from a question to a job), `planning` (waits for leaders and archive), `restore` (plan, read, load, confirm, publish; may be killed
anywhere), `service` (the verbs), `backups` (moments kept by name), `book` and `job` (what is remembered, and its report). The archive: `archive` (what is asked of it), `source` (the real one).

It imports scrubber, archiver, storage and base; the store only by `storage.service_port`. Inside, imports point from coordinators down to plans, kept by import-linter.
"""
