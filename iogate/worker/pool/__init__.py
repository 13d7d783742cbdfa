"""Worker processes of a supervisor, and crash recovery."""
