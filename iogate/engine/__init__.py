"""Interpreter of the Open Workflow DSL: computes the next state and commands from program, state and events.

Pure: no I/O, clock, randomness, environment or async. The state is a tree of immutable frames; the store
keeps it. Effects are returned as commands.

    advance           the only entry point
    interpreter       the interpreter loop, and the operations that all kinds of tasks share
    tasks             one module per kind of task
    state             the tree of frames, its index and its stored form
    commands          events that go in and commands that come out
    expression_scope  variables that expressions can name
    data_schemas      JSON Schemas of the data flow, compiled once per program
    errors            conversion of errors to the data of a run
    event_filters     matching of events with the filters of a listening task
    event_prefilter   a cheap test whether an event may match a subscription
    lookahead         the next task, named before it is executed
    retry             another attempt of a faulted run
    link_renewal      new URLs of used and expired links for such an attempt
"""
