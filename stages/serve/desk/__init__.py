"""What the addresses of the service share: who asks, uploads, results, links, and refusals."""
