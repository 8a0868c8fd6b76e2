"""Rehearsed disasters: scenarios on copies and scratch tables, what each asserts of content, measured RTO and RPO, signed reports, what has become worse.

Nothing here writes into a live table, and nothing of a drill outlives it: what one has made is noted before it is made, and swept at the next start or drill.
"""
