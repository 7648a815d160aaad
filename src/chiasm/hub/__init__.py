"""Models of hubs: their names, what a hub lists, and how it is fetched. No torch."""
