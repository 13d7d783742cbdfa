"""What a document must hold beyond its shape: one check a file.

A check is a generator of problems and changes nothing. Those of a workflow get its document and its
surroundings; `ORDER` is the order in which compile runs them, which nobody may rely on.
"""
