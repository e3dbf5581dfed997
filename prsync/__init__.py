"""prsync: rsync's commands and wire protocol, with transfers spread over mirrors and verified against the origin."""
