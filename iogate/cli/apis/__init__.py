"""`iogate api` and `iogate workflow`: commands for the live APIs and workflows."""
