"""What a router asks of a partition's leader and what it is told, as plain data (docs/formats/command.md): values, evaluate, codec. Pure."""
