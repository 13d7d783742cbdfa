"""Examples of APIs: those of their debug cases, and values that a JSON Schema accepts."""
