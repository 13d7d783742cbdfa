"""Events on their way to runs and to sinks."""
