"""Parents and children: supervision, heartbeats, signals, and the hand-over of settings."""
