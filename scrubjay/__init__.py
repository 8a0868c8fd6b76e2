"""The front door: command line, configuration, the admin API behind it, and the composition of the server."""

__version__ = "0.1.0"
