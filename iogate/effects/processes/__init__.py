"""User code in separate processes: shell commands, scripts and containers.

Each gets a clean environment and limits, and is killed together with its children.
"""
