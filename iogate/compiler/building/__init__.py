"""A definition's JSON becomes the task tree of `program`: one module for each family of tasks.

`draft` is what they all are handed, `builder` knows which family a task is of. Nothing here evaluates
anything, reads a file or knows the engine. Called by `program` alone.
"""
