"""The RQ worker that advances runs: takes leases, drives the engine, performs effects, commits.

May talk to the store, the engine and effects. What comes next in a workflow is the engine's to decide.

    workforce: signs standing_in                  the parent: which workers to keep, whose runs to bury
    process: __main__ bounds worker job upkeep    one worker process, and what RQ sees of it
        standard_streams
    loop: drive turns                             what is taken, whose turn it is, what follows from a step
    active: loading programs vault frames         a run in a worker's hands
        journal redaction witness
    commits performing children inbox             what a step leads to, and what comes back
        process_output lane
    matching: directory                           events to those who listen
    courier: sinks lifecycle                      events to those outside
    scheduling                                    runs by the clock
"""
