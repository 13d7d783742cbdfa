"""What a document must hold beyond its shape: one check a file.

A check is a generator of problems and changes nothing. Those of workflows share one signature and are
listed in `compile`; none may rely on another having run.
"""
