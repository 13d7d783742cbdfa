"""The store's clock, durations and cron expressions."""
