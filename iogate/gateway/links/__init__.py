"""One-time links: their pages, their forms, and their use."""
