"""The page of a lab: its leaderboard, and figures of what is recovered, what is missed, and how it fails."""
