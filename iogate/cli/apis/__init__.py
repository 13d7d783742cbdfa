"""`iogate api` and `workflow`: the live APIs and workflows."""
