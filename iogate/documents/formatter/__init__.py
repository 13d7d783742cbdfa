"""Canonical form of documents: comments stay, keys get their order, layout becomes uniform.

    canonical                    text to canonical text, and the proof that both mean the same
    file_formatter               files to canonical text
    lexer parser syntax          text to a syntax tree that has every comment
    key_order                    order of keys, by the models of documents
    printer scalar_style         syntax tree to text

Called by `iogate fmt`. The tree is built from the events and tokens of the parser that the reader uses, since
no library keeps comments at their place when keys move: ruamel.yaml attaches a comment to the value before it
and drops comments in flow collections.
"""
