"""The RQ worker that advances runs: takes leases, drives the engine, performs effects, commits.

May import the store, the engine and effects. The engine decides what comes next in a workflow.

    pool              the parent of the workers: which to keep, and crash recovery
    __main__ process  one worker process, from its settings to its exit
    loop              takes runs, renews leases, hands back
    runs              one run from its claim to the commit that lets it go
    events            events for runs and sinks, and schedules
    secrets           secrets of workflows, and redaction
    rq_worker job     the worker and its job function as RQ sees them
    resource_limits   limits of the process and its children
    standard_streams  output of Python functions, redacted
    maintenance       presence and audits, beside the runs
"""
