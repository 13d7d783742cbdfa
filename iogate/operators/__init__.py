"""Functions of operators, without HTTP and terminal: one module per resource.

Called by the command line, the HTTP API of operators, and the console, which so show the same. Each function
takes the store and plain arguments, returns a value that JSON can express, and raises an error of
`iogate.errors`. Invariant: no result contains a secret.

    access            operators of the setting: roles, tokens, and the author of a change
    runs              list runs; show, cancel, retry, suspend, resume one, and redeliver its callback
    task_records      recorded input and output of tasks
    batches           bulk actions on runs
    activity          record of each change: author, reason, outcome
    live_revision     the live revision of a project, and the selection of its APIs
    apis              the live APIs
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
