"""The demo of recipes: drawn videos of cooking, a server that knows them, and a verdict."""
