"""Checkers judge histories. Each returns findings; none is ever "probably fine": what could not be decided is `unknown`, and counted."""
