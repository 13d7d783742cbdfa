"""Reader of definitions: the JSON of a valid workflow becomes a program, and an index for checks.

`reader` has what all families of tasks share, `definition` knows which family a kind of task belongs to.
Called by `program`. Nothing here evaluates an expression, reads a file or knows the engine.
"""
