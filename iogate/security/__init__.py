"""Keys, secrets, password hashing and redaction."""
