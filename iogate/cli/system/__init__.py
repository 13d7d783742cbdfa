"""The live system that commands show and change: directly on its store, or over HTTP.

    system          port: operations that commands need, as protocols
    store_system    implementation on the store, by functions of `iogate.operators`
    store_runs      its part about runs
    store_objects   its parts about APIs, workflows and schedules
    store_batches   its part about batches
    store_revisions  its part about revisions: plans, publication
    http_system     implementation over the HTTP API of operators of a gateway
    http_runs       its part about runs
    http_objects    its parts about APIs, workflows and schedules
    http_batches    its part about batches
    http_revisions  its part about revisions: plans, publication
    operator_client  requests to that API, and its errors
    server_choice   which of the two a command uses, and which server
    logins          file with the servers and tokens of `iogate login`
    login_commands  `login`, `logout`

Commands open a system with `Session.system`, and never ask which one it is. To add an operation, add it to a
protocol in `system` and to both implementations; `tests/cli/system` compares what commands print with each.
"""
