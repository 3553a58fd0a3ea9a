"""From a job to what it yields, and the life of a worker.

dispatch        which of the known shapes a job has, and what each is answered with, in time
events          tokens gathered so that a slow network holds nothing back
output          what may leave: JSON, sizes, errors
characters      a character of the operator's folder by its name
serve           flags, start-up checks, the SDK's loop
job_loop        no job before the warm-up, none lost at the end, pauses where the server is gone
job_list        the jobs of a poll; a malformed one costs no other
results         what a job yields, posted; kept on disk (kept_results) while the server is gone
health          is the event loop awake, is the GPU alive
"""
