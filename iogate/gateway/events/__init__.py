"""Intake of CloudEvents."""
