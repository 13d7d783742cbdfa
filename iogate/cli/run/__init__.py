"""`iogate run FILE`: one workflow in a store of its own."""
