"""The compiler: documents become one immutable revision.

    documents ──▶ program.read ──▶ Definition (program, index) ──▶ checks, resources ──▶ Revision
                    worker: stored JSON ──▶ program.load ──▶ Program ──▶ engine

Pure, except that `resources` reads the files that workflows name. One reader (`reader`) turns the JSON of a
definition into the typed tasks of a program: for the checks, with an index of all elements and their
pointers, and for workers. `revision` and `program` hold the types that every layer above reads; they need
neither YAML nor pydantic.
"""
