"""`iogate apply`, `enable`, `disable`, `override`, `status`: commands for the live revision."""
