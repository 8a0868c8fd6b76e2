"""Expressions: text to tokens to tree (parse), names and values put in and checked (check), then evaluated. Pure."""
