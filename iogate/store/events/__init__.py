"""Event bus for runs and outboxes for sinks."""
