"""Files and folders that several stages write and link."""
