"""Durable long work: submit by name, watch, cancel; what was running goes on after a crash.

Functions are registered only in the library process (:class:`JobRunner`); everyone else names them
(:class:`JobsClient`).
"""

from chiasm.jobs.progress import JobCancelled, JobContext, JobFunction
from chiasm.jobs.records import JobError, JobRecord, JobStatus

__all__ = ["JobCancelled", "JobContext", "JobError", "JobFunction", "JobRecord", "JobStatus"]
