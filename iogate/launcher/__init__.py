"""Launcher of user code outside the worker: a fork server, a keeper per process, and its confinement.

The package imports only the standard library and nothing else of iogate, so that its processes are small and
start fast.

    server          one per worker: forks a keeper for each request
    keeper          subreaper of one process tree: starts, monitors and kills it
    tree            descendants of a process, read from /proc
    confinement     limits, user, namespaces and mounts of the process
    system_calls    system calls that the standard library lacks
    folder_removal  folders of ended processes
"""
