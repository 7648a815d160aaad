"""What the sample library holds: file name → what it is made of. :mod:`.sample` makes the files."""

from dataclasses import dataclass

Colour = tuple[int, int, int]
WHITE: Colour = (255, 255, 255)
CREAM: Colour = (250, 244, 230)
MIST: Colour = (226, 234, 240)
SAND: Colour = (240, 226, 200)
MINT: Colour = (222, 240, 228)
NIGHT: Colour = (22, 28, 58)
SKY: Colour = (150, 205, 245)
SEA: Colour = (64, 130, 180)
GRASS: Colour = (120, 180, 90)
SNOW: Colour = (238, 243, 250)


@dataclass(frozen=True, slots=True)
class Sprite:
    """One drawing in a scene: its name, its centre and its size as fractions of the picture's side."""

    drawing: str
    x: float = 0.5
    y: float = 0.5
    size: float = 0.78


@dataclass(frozen=True, slots=True)
class Scene:
    """Sprites in front of a background that goes from one colour at the top to another at the bottom."""

    sprites: tuple[Sprite, ...]
    top: Colour = WHITE
    bottom: Colour = WHITE


def _single(drawing: str, colour: Colour = WHITE) -> Scene:
    return Scene((Sprite(drawing),), colour, colour)


PICTURES: dict[str, Scene] = {
    "red-apple.webp": _single("noto:red-apple"),
    "green-apple.webp": _single("noto:green-apple", CREAM),
    "electric-guitar.webp": _single("noto:guitar"),
    "steam-train.webp": _single("noto:locomotive", MIST),
    "snowman.webp": _single("noto:snowman-without-snow", SKY),
    "cactus.webp": _single("noto:cactus", SAND),
    "flamingo.webp": _single("noto:flamingo", MINT),
    "panda.webp": _single("twemoji:panda", MINT),
    "owl.webp": _single("twemoji:owl", CREAM),
    "octopus.webp": _single("twemoji:octopus", MIST),
    "fire-engine.webp": _single("twemoji:fire-engine"),
    "umbrella-in-the-rain.webp": _single("twemoji:umbrella-with-rain-drops", MIST),
    "pizza.webp": _single("twemoji:pizza", CREAM),
    "bee.webp": _single("twemoji:honeybee"),
    "coffee.webp": _single("fluent-emoji:hot-beverage", SAND),
    "old-key.webp": _single("fluent-emoji:old-key"),
    "alarm-clock.webp": _single("fluent-emoji:alarm-clock", MINT),
    "books.webp": _single("fluent-emoji:books", CREAM),
    "watermelon.webp": _single("fluent-emoji:watermelon"),
    "sunflower.webp": _single("fluent-emoji:sunflower", SKY),
    "noodles.webp": _single("fluent-emoji:steaming-bowl", SAND),
    "camera.webp": _single("fluent-emoji-flat:camera"),
    "scissors.webp": _single("fluent-emoji-flat:scissors", MIST),
    "hammer.webp": _single("fluent-emoji-flat:hammer", SAND),
    "bicycle.webp": _single("fluent-emoji-flat:bicycle", MINT),
    "candle.webp": _single("fluent-emoji-flat:candle", (70, 52, 60)),
    "penguin.webp": _single("fxemoji:penguin", SNOW),
    "hamburger.webp": _single("fxemoji:hamburger", CREAM),
    "elephant.webp": _single("fxemoji:elephant", SAND),
    "tractor.webp": _single("emojione:tractor", MINT),
    "ferris-wheel.webp": _single("emojione:ferris-wheel", SKY),
    "dolphin.jpg": _single("clipart:dolphin", SNOW),
    "violin.jpg": _single("clipart:violin_colour_ganson"),
    "drum-kit.jpg": _single("clipart:drums_jarno_vasamaa_"),
    "seahorse.jpg": _single("clipart:seahorse", SEA),
    "country-house.jpg": _single("clipart:casa_in_campagna_archite_01"),
    "spaghetti.jpg": _single("clipart:spaghetti_ganson", CREAM),
    "sleeping-cat-sketch.png": _single("clipart:sleeping_cat_ron_golan_01"),
    "blue-balloon.jpg": _single("clipart:balloon-blue-aj"),
    "camping-under-the-stars.jpg": Scene(
        (
            Sprite("fluent-emoji-flat:tent", 0.36, 0.66, 0.46),
            Sprite("fluent-emoji-flat:telescope", 0.76, 0.64, 0.34),
        ),
        NIGHT,
        (50, 70, 60),
    ),
    "dog-and-ball-in-the-park.jpg": Scene(
        (
            Sprite("noto:deciduous-tree", 0.2, 0.4, 0.42),
            Sprite("fluent-emoji:dog", 0.56, 0.6, 0.46),
            Sprite("fluent-emoji-flat:soccer-ball", 0.86, 0.78, 0.16),
        ),
        SKY,
        GRASS,
    ),
    "lighthouse-and-sailboat.jpg": Scene(
        (
            Sprite("clipart:lighthouse_matthew_gates_", 0.2, 0.46, 0.62),
            Sprite("twemoji:sailboat", 0.66, 0.6, 0.4),
        ),
        (252, 214, 170),
        SEA,
    ),
    "fruit-on-the-table.jpg": Scene(
        (
            Sprite("clipart:wooden_table_benji_park_01", 0.5, 0.74, 0.86),
            Sprite("fxemoji:banana", 0.32, 0.36, 0.26),
            Sprite("emojione:strawberry", 0.55, 0.38, 0.2),
            Sprite("clipart:pineapple", 0.76, 0.3, 0.36),
        ),
        CREAM,
        SAND,
    ),
}
"""``pictures/``: drawings are ``family:slug``; ``clipart:`` is Debian's openclipart-png by file stem."""

SKETCH: frozenset[str] = frozenset({"sleeping-cat-sketch.png"})
"""Pictures that are black lines, saved with few colours."""


@dataclass(frozen=True, slots=True)
class Tune:
    """Notes of a General MIDI program: (MIDI key, start and length in beats); drums ignore the program."""

    program: int
    notes: tuple[tuple[int, float, float], ...]
    beat: float = 0.4
    drums: bool = False


def _melody(*keys: int, length: float = 1.0) -> tuple[tuple[int, float, float], ...]:
    return tuple((key, index * length, length) for index, key in enumerate(keys))


_ROCK = tuple(
    note
    for bar in (0, 4)
    for note in (
        *((42, bar + step / 2, 0.4) for step in range(8)),
        *((36, bar + step, 0.4) for step in (0, 2, 2.5)),
        *((38, bar + step, 0.4) for step in (1, 3)),
    )
)

SOUNDS: dict[str, Tune] = {
    "piano.ogg": Tune(0, _melody(60, 64, 67, 72, 67, 64, 60, length=0.8)),
    "violin.ogg": Tune(40, _melody(67, 69, 71, 74, length=1.6)),
    "cello.ogg": Tune(42, _melody(43, 47, 50, length=2.0)),
    "acoustic-guitar.ogg": Tune(
        24, ((52, 0, 4), (56, 0.5, 4), (59, 1, 4), (64, 1.5, 4), (59, 3, 3), (56, 4, 3))
    ),
    "trumpet.ogg": Tune(56, _melody(67, 67, 72, 76, 79, length=1.0)),
    "flute.ogg": Tune(73, _melody(79, 81, 83, 86, 83, length=1.2)),
    "saxophone.ogg": Tune(66, _melody(62, 65, 67, 68, 67, 65, length=1.0)),
    "church-organ.ogg": Tune(
        19, ((48, 0, 4), (55, 0, 4), (60, 0, 4), (64, 0, 4), (53, 4, 4), (60, 4, 4), (65, 4, 4))
    ),
    "xylophone.ogg": Tune(13, _melody(72, 74, 76, 79, 76, 74, 72, 67, length=0.5)),
    "harp.ogg": Tune(46, _melody(55, 59, 62, 67, 71, 74, 79, 83, length=0.5)),
    "drums.ogg": Tune(0, _ROCK, beat=0.35, drums=True),
    "birdsong.ogg": Tune(123, _melody(60, 64, 58, length=2.5)),
    "sea-waves.ogg": Tune(122, ((60, 0, 10),)),
    "helicopter.ogg": Tune(125, ((55, 0, 9),)),
    "applause.flac": Tune(126, ((60, 0, 7),), beat=0.3),
}
"""``sounds/``: FluidR3's instruments and effects."""


@dataclass(frozen=True, slots=True)
class Words:
    """A sentence and the espeak-ng voice that says it."""

    text: str
    language: str
    voice: str


SPEECH: dict[str, Words] = {
    "memo-cactus.ogg": Words("Remember to water the cactus on Sunday.", "en", "gmw/en-US+f2"),
    "memo-train.ogg": Words("The train leaves at seven, from platform nine.", "en", "gmw/en+m3"),
    "elephant.ogg": Words("elephant", "en", "gmw/en-US+m1"),
    "语音备忘-雨伞.ogg": Words("今天下午有雨，出门记得带雨伞。", "zh", "sit/cmn+f2"),
    "语音备忘-生日.ogg": Words("星期六是妈妈的生日，要买一个蛋糕。", "zh", "sit/cmn+m3"),
    "大熊猫.ogg": Words("大熊猫", "zh", "sit/cmn+f1"),
}
"""``speech/``: spoken notes."""


@dataclass(frozen=True, slots=True)
class Motion:
    """A sprite that goes from one place and size to another in front of a background, for some seconds."""

    start: Sprite
    end: Sprite
    top: Colour
    bottom: Colour
    seconds: float = 4.0
    turns: float = 0.0


CLIPS: dict[str, tuple[Motion, ...]] = {
    "rocket-launch.mp4": (
        Motion(
            Sprite("twemoji:rocket", 0.3, 0.85, 0.35),
            Sprite("twemoji:rocket", 0.75, 0.1, 0.3),
            NIGHT,
            (70, 40, 60),
        ),
    ),
    "balloon-growing.mp4": (
        Motion(
            Sprite("clipart:balloon-red-aj", 0.5, 0.55, 0.12),
            Sprite("clipart:balloon-red-aj", 0.5, 0.5, 0.85),
            SKY,
            SNOW,
        ),
    ),
    "sailing.webm": (
        Motion(
            Sprite("twemoji:sailboat", -0.1, 0.6, 0.4),
            Sprite("twemoji:sailboat", 1.1, 0.6, 0.4),
            SKY,
            SEA,
            5.0,
        ),
    ),
    "tiger-comes-closer.webm": (
        Motion(
            Sprite("emojione:tiger", 0.5, 0.5, 0.18),
            Sprite("emojione:tiger", 0.5, 0.55, 0.95),
            GRASS,
            (60, 110, 60),
        ),
    ),
    "football-rolling.mp4": (
        Motion(
            Sprite("fluent-emoji-flat:soccer-ball", 1.0, 0.72, 0.3),
            Sprite("fluent-emoji-flat:soccer-ball", 0.0, 0.72, 0.3),
            SKY,
            GRASS,
            turns=2.0,
        ),
    ),
    "一天的三个片段.mp4": (
        Motion(
            Sprite("fluent-emoji:cat", 0.15, 0.6, 0.45),
            Sprite("fluent-emoji:cat", 0.85, 0.6, 0.45),
            CREAM,
            SAND,
            6.0,
        ),
        Motion(
            Sprite("noto:locomotive", 1.1, 0.6, 0.55),
            Sprite("noto:locomotive", -0.1, 0.6, 0.55),
            SKY,
            GRASS,
            6.0,
        ),
        Motion(
            Sprite("twemoji:octopus", 0.5, 0.55, 0.2),
            Sprite("twemoji:octopus", 0.5, 0.5, 0.8),
            SEA,
            NIGHT,
            6.0,
        ),
    ),
}
"""``clips/``: the last one has three parts of six seconds, so that a hit has a time."""
