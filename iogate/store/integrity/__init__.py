"""Seals of what the store holds, and the keys that verify them."""
