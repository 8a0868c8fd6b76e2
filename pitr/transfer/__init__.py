"""Tables out of the cluster and into it: exports in the layout of DynamoDB's own, read from the archive and never from the live table, and imports into a new table.

`aws_layout` names and manifests · `formats` items as lines of a format, `parquet` as rows of columns · `known_formats` one of them for a table · `export_files` one partition's rows to data files, read back: a job · `export_notes` what is
remembered of an export · `exports` the whole of it.

`import_source` what lies at a URL · `import_reading` items of a file, line by line · `import_runs` files to sorted runs, runs to the rows of partitions: jobs · `import_notes`
what is remembered of an import · `imports` the whole of it.
"""
