"""The HTTP side: authenticates, judges and stores a call durably before it answers.

Loads compiled revisions; never evaluates an expression and never reads a document.
"""
