"""Files become typed documents here; every node knows its line and column.

May read files. May not know Redis, HTTP, the engine or what other documents say: checks across
documents are the compiler's.
"""
