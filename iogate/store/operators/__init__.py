"""Record of changes by operators, and responses to their repeated requests."""
