"""What holds back: hosts, the disk, the failure budget."""
