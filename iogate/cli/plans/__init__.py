"""`iogate plan` and other commands that show a difference between files, revisions and the live state."""
