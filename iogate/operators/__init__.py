"""Functions of operators, without HTTP and terminal: one module per resource.

Called by the command line, the HTTP API of operators, and the console, which so show the same. Each function
takes the store and plain arguments, returns a value that JSON can express, and raises an error of
`iogate.errors`. Invariant: no result contains a secret.

    roles             roles of operators, and the author of a change
    operator_tokens   operators of the setting, found by their tokens
    runs              list runs; show, cancel, retry, suspend, resume one, and redeliver its callback
    batches           bulk actions on runs
    activity          record of each change: author, reason, outcome
    live_revision     the live revision of a project, and the selection of its APIs
    apis debug_cases  the live APIs, and their debug cases
    gates             their switches, overrides and holds
    workflows         the live workflows
    schedules         the live schedules: state, switch, runs
    revisions         the published revisions: history, content, differences
    publication_plan  plan of a publication, to show, check and confirm
    publications      publication of a plan, rollback
    drift             overrides, and differences of the store from the live revision
    status            overview: revision, runs, queue, APIs and processes
    secrets           missing secrets, and the values that processes have
    statistics        counts and times of runs by API, workflow and hour, and their distinct errors
"""
