"""How a server is watched: figures, log lines, spans, and what ties those of one request together."""
