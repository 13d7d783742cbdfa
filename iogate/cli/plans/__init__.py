"""`iogate plan`, `diff`, `rollback`: commands that show a difference of files, revisions and live."""
