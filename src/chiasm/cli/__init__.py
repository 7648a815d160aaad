"""``chiasm …``: thin; each command is one call into the layers below, which are imported when it runs."""
