"""`iogate init`, `new`, `secret`: the files of a project."""
