"""A definition's JSON becomes the task tree of `program`: one module for each family of tasks.

`builder` walks lists and tasks and is what the others are handed; nothing here evaluates anything, reads a
file or knows the engine. Called by `program` alone.
"""
