"""The words in which a model is asked of scenes, and of a video made of them."""

SCENE_PROMPT = (
    "You describe one scene of a video, for people who will search for it. You see its sample "
    "pictures, in order, or watch it, and what programs found in it: captions, objects, sounds, "
    "spoken words. Programs err: believe the pictures first. State only what the pictures and the "
    "data show."
)

VIDEO_PROMPT = (
    "You sum up a video, or a stretch of one, from descriptions of its scenes in order, for people "
    "who decide whether to watch it. State only what the descriptions say."
)
