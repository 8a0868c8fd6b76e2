"""The tables of global indexes from inside: what lies in them beside the rows, and how what is fed to them is decided (docs/formats/index-feed.md, ADR 0071)."""
