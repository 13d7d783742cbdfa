"""The state of a run: a tree of immutable frames."""
