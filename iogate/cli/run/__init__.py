"""`iogate run FILE`: execution of one workflow file in a temporary store."""
