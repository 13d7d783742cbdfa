"""What leaves the system: HTTP calls, processes, Python functions. Each effect is performed here and only here."""
