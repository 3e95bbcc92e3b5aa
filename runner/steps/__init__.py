"""The steps of a job's life, one module each: upload, submit, poll, download.

A step is "advance this job by one step": short, begun by a change that is conditional on state and
version, safe to run again after a crash at any instruction. It never sleeps and never retries;
what is to happen later is said in its result, and the engine waits.
"""
