"""chiasm's server inside other people's frameworks. Each module needs its own extra."""
