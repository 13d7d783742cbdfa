"""`iogate validate`, `debug`, `test`: documents and their debug cases."""
