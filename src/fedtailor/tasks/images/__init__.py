"""Tasks of pictures: shards, losses and samples."""
