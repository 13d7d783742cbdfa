"""`iogate watch`: applies a project whenever its files or a branch of its repository change."""
