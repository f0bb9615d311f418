"""What a file's packets say of its frames before anything is decoded."""
