"""YAML text to data, and to a positioned tree when something asks for a position."""
