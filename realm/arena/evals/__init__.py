"""Evals of checkpoints: asked for, answered, graded, compared, exported."""
