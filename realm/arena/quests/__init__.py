"""Quests: from the inbox through validation to the board, and what became of them."""
