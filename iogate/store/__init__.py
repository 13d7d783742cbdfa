"""Durable state in Redis.

No other package keeps durable state, or knows keys and scripts.

    keys         every key and its lifetime
    store        opens the store and hands out its parts
    run_files    files that came with calls
    state_codec  state of a run as it is stored
    connection   connections, scripts, publish/subscribe, sentinels
    embedded     the Redis server that `up` starts
    runs         intake, leases, commits, index, and views of runs
    revisions    published revisions, gates of APIs, schedules
    events       events for runs and sinks
    operators    record of changes by operators, responses to their repeated requests, batches
    statistics   counts of runs by hour, groups of equal errors
    integrity    seals and the keys that verify them
    maintenance  audit, checks of the server, drain, presence
    lua          the operations, one file each
"""
