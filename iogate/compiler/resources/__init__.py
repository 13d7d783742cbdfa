"""Documents that other documents name: found, fetched, locked, and taken into the revision."""
