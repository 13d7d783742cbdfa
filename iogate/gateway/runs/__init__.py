"""Routes of runs: show, wait, follow, cancel."""
