"""What is measured and told: events, statistics, processor time, amounts in words."""
