"""A value of every setting of photographs that changes what is seen."""

OPTIONS = {
    "crop": (0.2, 0.4),
    "flip_p": 1.0,
    "brightness": 0.5,
    "contrast": 0.5,
    "saturation": 0.9,
    "hue": 0.3,
    "grey_p": 1.0,
    "blur_p": 1.0,
    "solarise_p": 1.0,
    "randaugment": (4, 10),
    "autoaugment": True,
    "cutout_p": 1.0,
}
