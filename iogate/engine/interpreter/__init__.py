"""The interpreter: moves the frames of one run until all wait or the budget is used up."""
