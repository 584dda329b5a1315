"""A job for many seeds: cut into chunks, computed by workers here or on a cluster, kept on disk by their key.

What decides where something is computed, whether it is computed again, and what it is kept under belongs
here. Nothing here knows what a job trains.
"""
