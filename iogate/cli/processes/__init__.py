"""`iogate up`, `serve`, `worker`, `store`, `doctor`: commands for processes and the store."""
