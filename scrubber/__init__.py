"""Scrub: every copy of every partition against a reference rebuilt from the archive alone, at one LSN, and the healing of what is outvoted.

Read in this order. What is judged: `evidence`, `verdict`. Who is wrong: `judge`, the one place that says so; `compare` finds the differences it is asked about,
`conclude` adds a comparison up. What a run will do and cost: `plan`. All of these, with `outcome` and `report`, are pure.

What coordinates: `passes` (seal, pin, scan, rebuild, compare), `findings` (a difference gets its key and its log record), `partition` (pass, heal, pass again),
`run` (carries the plan out), `service` (one run at a time), `healer` (what cannot wait for a run). The reference: `reference` (what is asked of it), `rebuilt`,
`shelves` and `jobs` (from the real archive). What is remembered: `ledger`, `sqlite_ledger`.

It imports archiver, storage and base; the store only by `storage.service_port`. Inside, imports point from coordinators down to judges, kept by import-linter.
"""
