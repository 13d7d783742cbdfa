"""`iogate up`, `serve`, `worker`, `store`, `doctor`: processes and the store."""
