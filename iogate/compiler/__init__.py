"""Documents become one immutable revision here.

Pure but for one thing: the files that workflows name are read (`resources`). No clock, no environment.
`revision` and `program` hold the compiled types that every layer above reads; they import nothing of
`documents`, so that a gateway or an engine that loads a compiled revision needs neither YAML nor pydantic.
"""
