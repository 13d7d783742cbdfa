"""Events for runs and sinks, and runs that schedules start."""
