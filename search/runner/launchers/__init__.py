"""Start the workers of a study: processes on this host, or jobs of a Slurm cluster.

Each is the command `thrones worker`, as anybody may start it by hand.
"""
