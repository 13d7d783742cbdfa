"""What must hold across documents, and what a document may ask of this release: one check a file."""
