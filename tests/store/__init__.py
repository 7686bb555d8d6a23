"""What every backend of the store must do."""
