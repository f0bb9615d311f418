"""A discrete-event model of the engine: what replays a recording under the engine's own rules."""
