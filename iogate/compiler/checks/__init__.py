"""Checks of documents beyond their shape.

One module per check, which is why the folder is large: each is read alone. A check is a generator of problems
and changes nothing. Checks of workflows have one signature and are listed in `compile`; none relies on
another.
"""
