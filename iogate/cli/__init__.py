"""Commands and their rendering. Composes the layers below; holds no logic that another program would need.

`app` is the entry, `session` what every command is given, `render` the only place that knows rich; each
other module is one group of commands. Layers below are imported inside the commands that need them:
`iogate --help` must not pay for a store, a compiler or a server.
"""
