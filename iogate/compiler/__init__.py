"""The compiler: documents become one immutable revision.

Pure, except that `resources` reads the files that workflows name. `revision` and `program` hold the compiled
types that every layer above reads; they import nothing of `documents`, so a gateway or an engine that loads a
compiled revision needs neither YAML nor pydantic.
"""
