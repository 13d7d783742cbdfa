"""The interpreter of the Open Workflow DSL: program, state, what happened and the time in; next state out.

Pure: no I/O, clock, randomness, environment or async. State is a tree of immutable frames that the
store keeps; whatever must happen outside is returned as a command.
"""
