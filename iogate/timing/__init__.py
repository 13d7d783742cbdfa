"""The store's clock, backoff, durations and cron expressions."""
