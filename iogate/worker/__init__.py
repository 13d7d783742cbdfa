"""The RQ worker that advances runs: takes leases, drives the engine, performs effects, commits.

May import the store, the engine and effects. Only the engine interprets workflows.

    pool              worker processes of a supervisor, and crash recovery
    __main__ worker_process  one worker process, from its settings to its exit
    main_loop         takes runs, renews leases, hands runs back
    runs              execution of a run, from its claim to its last commit
    recording         input and output of tasks, for journals and replays
    ports             protocols of what the runs need: leases, effects, clock
    store_reader      reads that a run cannot continue without
    run_spans         spans of runs and effects, for traces
    events            event matching, delivery to sinks, schedules, and batches of operators
    secrets           resolved secrets of workflows, and redaction
    rq_worker job     registration in RQ, and the job function that RQ sees
    resource_limits   limits of the process and its children
    standard_streams  output of Python functions, redacted
    maintenance       presence, secret refresh and audits
    revision_follower  acknowledges each live revision that the worker can execute
"""
