"""Recording of tasks: requests and results, in the journal and for replays."""
