"""What a study starts from: its images and its base network."""
