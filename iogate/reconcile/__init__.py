"""What makes the live revision follow the files: publish by compare-and-set, wait until gateways took it."""
