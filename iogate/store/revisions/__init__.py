"""Published revisions, the gates of their APIs, and schedules."""
