"""Secrets of workflows, and their redaction in what a worker writes."""
