"""`iogate apply`, `enable`, `disable`, `override`, `status`."""
