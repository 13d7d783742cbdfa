"""Runs for operators: lists, details, and changes of single ones."""
