"""Record of changes by operators, responses to their repeated requests, and their bulk actions."""
