"""Gates that hold items back: hosts, resources, the disk, the failure budget."""
