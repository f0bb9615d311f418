"""Services that draw and speak: what they are asked, what they answer, and what is kept of it."""
