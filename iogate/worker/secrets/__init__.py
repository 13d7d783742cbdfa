"""Resolved secrets of workflows, and redaction of journals and errors."""
