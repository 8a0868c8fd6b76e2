"""`verify`: prove an archive from its objects alone. May import `read`, `coverage` and `format`, never `write`.

`run` the whole of it, and its levels · `round` what was asked, the budget, the findings · `small` identity, epochs, closed timestamps · `log` manifests and
segments of one partition · `partition` what is absent, astray or orphaned there, its bases, its replay · `jobs` what runs in worker processes · `report` the
question and the answer.
"""
