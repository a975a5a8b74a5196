"""Tasks: work that is done beside the training, one at a time, each with a cooldown."""
