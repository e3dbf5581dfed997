"""Times prsync against stock rsync, side by side on this machine. `python -m bench --help` tells how."""
