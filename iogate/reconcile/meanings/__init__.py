"""Meaning of changes: a closed set of kinds, each with a severity.

Called by plan. Pure. `change_kinds` declares the set; the other modules find the kinds of a change, each for
one type of object.

    change_kinds  the closed set, and the texts of a meaning
    apis          changes of an API
    auth jwt allow_ips  changes of the callers of an API
    schemas input_files attributes  changes of the input of an API
    idempotency traffic  changes of the rules for equal calls and for many
    run_ends      changes of `callback` and `on_fault`
    workflows     changes of a definition, task by task
    links loops literal_durations  its links, concurrent loops, and equal durations
"""
