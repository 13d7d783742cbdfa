"""Starts user code outside the worker: a fork server, a keeper for each process, its confinement.

It imports only the standard library and nothing of iogate, so that its processes are small and start fast.

    server         one for each worker: forks a keeper for each request
    keeper         subreaper of one process tree: starts it, watches it, ends all of it
    tree           the processes below one, as /proc shows them
    confinement    limits, user, namespaces and mounts of what is started
    kernel         system calls that the standard library lacks
"""
