"""What stays and what goes: retention, trash, backups, named versions, exports."""
