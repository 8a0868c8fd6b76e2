"""Leaf of the house: ids, errors, checksums, the hybrid clock and the ports (`base.env`) through which everything above meets the world.

Nothing here imports another package of the project. Only `base.real` may touch the operating system, sockets, time, randomness or an S3 client.
"""
