"""Functions of operators, without HTTP and terminal: one module per resource.

Called by the command line, the HTTP API of operators, and the console, which so show the same. Each function
takes the store and plain arguments, returns a value that JSON can express, and raises an error of
`iogate.errors`.

    access            operators of the setting: roles, tokens, and the author of a change
    activity          record of each change: author, reason, outcome
"""
