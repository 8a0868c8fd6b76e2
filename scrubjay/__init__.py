"""The front door (command line, configuration, the composition of the server), and the name that everything of ours is imported by.

The packages that this one holds besides lie at the top of the repository: `scrubjay/storage` is a link to `storage/`, and so on (ADR 0025).
"""

__version__ = "0.1.0"
