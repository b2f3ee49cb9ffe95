"""Checks for the exercises: each takes the learner's answer and says what is right or missing."""
