"""`iogate validate`, `debug`, `test`: commands for documents and their debug cases."""
