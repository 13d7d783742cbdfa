"""The interpreter of the Open Workflow DSL: program, state, events and time in; next state and commands out.

Pure: no I/O, clock, randomness, environment or async. The state is a tree of immutable frames; the store
keeps it. Effects are returned as commands.

    advance          the one entry point
    interpreter      which frame moves next, and the moves that all kinds of tasks make
    tasks            one module per kind of task
    state            the frames at rest, and indexed while they move
    commands         input and output of a step
    scope            what expressions can name
    schemas          JSON Schemas of the data flow, compiled once per program
    errors           errors on their way up
    event_filters    which filter takes an event
    event_prefilter  a cheap test whether an event may concern a subscription
    lookahead        the next task, named before it is executed
    retry            another attempt of a faulted run
"""
