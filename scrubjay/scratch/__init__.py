"""Scratch clusters: whole clusters of the real parts in a folder of their own, as children that die with whoever started them. What drills and the demo harm.

Jobs of drills (`scrubjay.drills.scratch`) are here: they start processes and open sockets, which nothing below the front door may. None of them is given a live data folder.
"""
