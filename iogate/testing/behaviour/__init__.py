"""Behavioural comparison of two definitions of a workflow, by replays of recorded runs.

Called by the command `plan`. No part of it reaches the outside: each task is answered from a record.

    replays     runs from the store, two definitions each: findings, counted
    player      one run of one definition: the executor of production over recorded answers, in virtual time
    answers     answers of a run as it was recorded, and of the new definition as the old one got them
    trace       tasks that a replay has visited, and the data that they got
    replay_comparison  two replays of a run: findings with the pointers of the tasks
    divergence  the first task of another branch, and of other data
    places      names of places that survive when tasks move
"""
