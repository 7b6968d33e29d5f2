"""What methods share: losses, ramps, teachers, uncertainty."""
