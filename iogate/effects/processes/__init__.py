"""User code in processes of its own: shell commands, scripts and containers, and how all they start ends.

Each gets a clean environment, limits, and a kill that reaches its children.
"""
