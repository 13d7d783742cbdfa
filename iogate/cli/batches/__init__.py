"""Commands of batches: bulk actions on runs, with preview, confirmation and progress."""
