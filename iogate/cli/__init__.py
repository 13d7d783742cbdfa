"""Commands and their rendering. Composes the layers below; holds no logic that another program would need."""
