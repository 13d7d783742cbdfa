"""Batches: bulk actions on runs, carried out by a worker, so that no client has to wait.

batch_selection  runs of a batch: its action, filter and limits; preview
batches          create, list, show, stop and continue batches
batch_execution  the work: the next runs of a batch, within the worker's share
"""
