"""A history that was noted from outside, and everything that tells of the past held against it. Imports nothing of the product: what it knows, it was answered."""
