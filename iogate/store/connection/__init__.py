"""Connections to Redis: commands, scripts, publish/subscribe, sentinels."""
