"""Recording of tasks: what reached the outside and came back, in the journal and for replays."""
