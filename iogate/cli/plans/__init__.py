"""`iogate plan`, `diff`, `rollback`, `export`, `drift`: differences of files, revisions and live."""
