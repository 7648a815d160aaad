"""Queue → batch → device → result, across processes.

``wire`` and ``rpc`` carry calls; ``batching`` and ``cache`` are pure policy; ``engine`` is the process that
owns the weights; ``client`` is how everyone else reaches it; ``supervisor`` keeps the processes alive.
"""
