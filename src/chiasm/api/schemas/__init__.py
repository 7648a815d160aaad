"""What request bodies and query strings may hold: strict, and closed to fields nobody documents."""
