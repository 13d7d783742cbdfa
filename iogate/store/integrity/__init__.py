"""Seals of stored objects, and the keys that verify them."""
