"""The parent of the workers: which to keep, and what follows when one dies or hangs."""
