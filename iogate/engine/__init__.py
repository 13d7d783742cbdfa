"""The interpreter of the Open Workflow DSL: program, state, what happened and the time in; next state out.

Pure: no I/O, clock, randomness, environment or async. State is a tree of immutable frames that the
store keeps; whatever must happen outside is returned as a command.

    advance                                       the one entry
    steps                                         which leaf moves next, how errors go up
    kinds: attempts branches children emitting    what each kind of task does
        extending listening triggering calls
    calls: addressing authentication containers   arguments of what reaches outside
    walk: raising schemas scope waits             the moves that all kinds make
    tree: index                                   the frames while they move
    state: frame                                  the frames at rest
    events: filters                               which event is for whom
    ahead                                         what comes next, said before it happens
    commands                                      what passes in and out
    reviving                                      another attempt of a run that faulted
"""
