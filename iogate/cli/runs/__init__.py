"""`iogate runs`: list, show, follow, cancel, retry and prune runs."""
