"""Other places: zones, branch officers, transfers, strongholds."""
