"""What the stores on relational databases share: what rows mean, gates, the newest of the log. Statements are their own."""
