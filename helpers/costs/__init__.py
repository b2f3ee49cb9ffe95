"""What does it cost: the size on disk, the cold start, the memory and the time of a call.

This file imports nothing, so that a process that measures loads nothing but what it measures.
"""
