"""Interpreter: executes the steps of one run until every branch waits or the budget is used up."""
