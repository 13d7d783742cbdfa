"""Meaning of changes: a closed set of kinds, each with a severity.

Called by plan. Pure. `change_kinds` declares the set; the other modules find the kinds of a change, each for
one type of object.

    change_kinds  the closed set, and the texts of a meaning
    apis          changes of an API
    auth          changes of the callers of an API
    schemas       narrowing and widening of a JSON Schema
    workflows     changes of a definition, task by task
"""
