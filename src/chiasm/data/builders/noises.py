"""Everyday sounds made from nothing: each a function of a random generator, float32 [n] at 16 kHz, peak
about 1."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
Samples = NDArray[np.float32]
Recipe = Callable[[np.random.Generator], Samples]


def _time(random: np.random.Generator, shortest: float = 1.2, longest: float = 3.0) -> NDArray[np.float64]:
    return np.arange(int(RATE * random.uniform(shortest, longest))) / RATE


def _finish(samples: NDArray[np.float64]) -> Samples:
    peak = float(np.abs(samples).max()) or 1.0
    return (samples / peak * 0.9).astype(np.float32)


def _coloured(
    n: int, random: np.random.Generator, low: float, high: float, slope: float = 0.0
) -> NDArray[np.float64]:
    """Noise between two frequencies (Hz) whose amplitude goes as frequency ** slope."""
    spectrum = np.fft.rfft(random.standard_normal(n))
    hertz = np.maximum(np.fft.rfftfreq(n, 1 / RATE), 1.0)
    gain = hertz**slope / (1 + (low / hertz) ** 6) / (1 + (hertz / high) ** 6)
    noise = np.fft.irfft(spectrum * gain, n)
    return np.asarray(noise / (noise.std() + 1e-9), np.float64)


def _wobble(n: int, random: np.random.Generator, hertz: float) -> NDArray[np.float64]:
    """A slow random curve between 0 and 1."""
    knots = random.random(max(4, int(n / RATE * hertz) + 3))
    return np.interp(np.linspace(0, len(knots) - 1, n), np.arange(len(knots)), knots)


def _hits(
    time: NDArray[np.float64],
    starts: NDArray[np.float64],
    make: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> NDArray[np.float64]:
    out = np.zeros_like(time)
    for start in starts:
        after = time - start
        live = (after >= 0) & (after < 1.5)
        out[live] += make(after[live])
    return out


def _tone(
    hertz: NDArray[np.float64] | float, time: NDArray[np.float64], harmonics: int = 1
) -> NDArray[np.float64]:
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(hertz, time.shape)) / RATE
    return np.asarray(sum(np.sin(k * phase) / k for k in range(1, harmonics + 1)))


def white_noise(random: np.random.Generator) -> Samples:
    return _finish(_coloured(len(_time(random)), random, 20, 7900, random.uniform(-0.1, 0.1)))


def rain(random: np.random.Generator) -> Samples:
    t = _time(random)
    drops = _coloured(len(t), random, 1500, 7000) * (random.random(len(t)) < 0.02) * 3
    return _finish(
        _coloured(len(t), random, 400, 7000, -0.3) * (0.7 + 0.3 * _wobble(len(t), random, 3)) + drops
    )


def wind(random: np.random.Generator) -> Samples:
    t = _time(random, 1.5, 3.5)
    howl = _tone(random.uniform(250, 600) * (0.8 + 0.5 * _wobble(len(t), random, 1.5)), t) * 0.3
    return _finish(
        (_coloured(len(t), random, 60, random.uniform(400, 900), -0.5) + howl)
        * (0.2 + _wobble(len(t), random, 1.5))
    )


def thunder(random: np.random.Generator) -> Samples:
    t = _time(random, 2.0, 3.5)
    rumble = np.exp(-t * random.uniform(0.8, 2)) * (0.3 + _wobble(len(t), random, 8))
    crack = (
        _coloured(len(t), random, 200, 5000) * np.exp(-t * random.uniform(8, 20)) * random.uniform(0.3, 1.5)
    )
    return _finish(_coloured(len(t), random, 25, random.uniform(120, 300), -0.6) * rumble + crack)


def siren(random: np.random.Generator) -> Samples:
    t = _time(random, 1.6, 3.5)
    low, high = random.uniform(450, 750), random.uniform(1000, 1600)
    cycle = np.sin(2 * np.pi * t * random.uniform(0.3, 3.5))
    sweep = np.sign(cycle) if random.random() < 0.4 else cycle
    return _finish(_tone(low + (high - low) * (0.5 + 0.5 * sweep), t, int(random.integers(2, 7))))


def beep(random: np.random.Generator) -> Samples:
    t = _time(random, 0.6, 2.0)
    on = (t * random.uniform(1.5, 6) % 1) < random.uniform(0.3, 0.8)
    return _finish(_tone(random.uniform(700, 3000), t, int(random.integers(1, 4))) * on)


def engine(random: np.random.Generator) -> Samples:
    t = _time(random)
    speed = random.uniform(25, 110) * (1 + 0.25 * _wobble(len(t), random, 1.2))
    return _finish(
        _tone(speed, t, 24) * (0.8 + 0.2 * random.random(len(t))) + 0.25 * _coloured(len(t), random, 80, 2500)
    )


def water_drops(random: np.random.Generator) -> Samples:
    t = _time(random, 1.2, 3.0)
    starts = np.cumsum(random.uniform(0.15, 0.7, 20))
    pitch = random.uniform(600, 1800)

    def drop(after: NDArray[np.float64]) -> NDArray[np.float64]:
        hertz = pitch * random.uniform(0.8, 1.25) * (1 + random.uniform(4, 12) * after)
        return _tone(hertz, after) * np.exp(-after * random.uniform(25, 60))

    return _finish(_hits(t, starts[starts < t[-1]], drop) + 0.002 * random.standard_normal(len(t)))


def flowing_water(random: np.random.Generator) -> Samples:
    t = _time(random)
    bubbles = sum(
        _tone(random.uniform(300, 1500) * (1 + 0.5 * _wobble(len(t), random, 12)), t)
        * _wobble(len(t), random, 14) ** 4
        for _ in range(8)
    )
    return _finish(bubbles + 0.4 * _coloured(len(t), random, 300, 4500, -0.3))


def ticking(random: np.random.Generator) -> Samples:
    t = _time(random, 1.8, 3.5)
    period, ring = random.uniform(0.22, 0.6), random.uniform(1800, 4500)

    def tick(after: NDArray[np.float64]) -> NDArray[np.float64]:
        return _tone(ring * random.choice([1.0, 0.8]), after) * np.exp(-after * 180)

    return _finish(_hits(t, np.arange(random.uniform(0, period), t[-1], period), tick))


def alarm_clock(random: np.random.Generator) -> Samples:
    t = _time(random, 1.2, 2.6)
    rate = random.uniform(12, 24)
    bell = sum(_tone(random.uniform(1800, 4200), t) for _ in range(4))
    return _finish(bell * np.exp(-(t * rate % 1) * random.uniform(2, 5)))


def footsteps(random: np.random.Generator) -> Samples:
    t = _time(random, 1.8, 3.5)
    period, body = random.uniform(0.35, 0.7), random.uniform(70, 160)

    def step(after: NDArray[np.float64]) -> NDArray[np.float64]:
        scrape = 0.4 * _coloured(len(after), random, 300, 3000) if len(after) > 8 else 0.0
        return (_tone(body, after) + scrape) * np.exp(-after * random.uniform(25, 45))

    return _finish(_hits(t, np.arange(0.05, t[-1], period) + random.uniform(-0.02, 0.02), step))


def knocking(random: np.random.Generator) -> Samples:
    t = _time(random, 0.9, 1.8)
    gap = random.uniform(0.14, 0.28)
    starts = 0.05 + gap * np.arange(random.integers(2, 5), dtype=np.float64)
    wood = random.uniform(140, 380)

    def knock(after: NDArray[np.float64]) -> NDArray[np.float64]:
        return (_tone(wood, after, 3) + 0.5 * _tone(wood * 2.7, after)) * np.exp(
            -after * random.uniform(45, 80)
        )

    return _finish(_hits(t, starts, knock))


def heartbeat(random: np.random.Generator) -> Samples:
    t = _time(random, 2.0, 3.5)
    period = random.uniform(0.6, 1.1)
    first = np.arange(0.05, t[-1], period)

    def thud(after: NDArray[np.float64]) -> NDArray[np.float64]:
        return _tone(random.uniform(45, 75), after, 2) * np.exp(-after * 22)

    return _finish(_hits(t, first, thud) + 0.7 * _hits(t, first + period * 0.3, thud))


def doorbell(random: np.random.Generator) -> Samples:
    t = _time(random, 1.4, 2.4)
    high = random.uniform(600, 900)

    def ding(hertz: float) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        return lambda after: (_tone(hertz, after) + 0.4 * _tone(hertz * 2.01, after)) * np.exp(-after * 3.5)

    gap = random.uniform(0.4, 0.7)
    return _finish(_hits(t, np.array([0.02]), ding(high)) + _hits(t, np.array([gap]), ding(high * 0.79)))


def car_horn(random: np.random.Generator) -> Samples:
    t = _time(random, 0.6, 1.8)
    low = random.uniform(320, 460)
    return _finish((_tone(low, t, 14) + _tone(low * 1.26, t, 14)) * np.minimum(1, t * 40))


def crickets(random: np.random.Generator) -> Samples:
    t = _time(random)
    chirp = (np.sin(2 * np.pi * t * random.uniform(22, 40)) > 0) * ((t * random.uniform(1.5, 3.5) % 1) < 0.5)
    return _finish(_tone(random.uniform(3800, 5600), t) * chirp + 0.01 * random.standard_normal(len(t)))


def buzzing(random: np.random.Generator) -> Samples:
    t = _time(random)
    hertz = random.uniform(170, 300) * (1 + 0.12 * _wobble(len(t), random, 6))
    return _finish(_tone(hertz, t, 12) * (0.3 + 0.7 * _wobble(len(t), random, 4)))


def explosion(random: np.random.Generator) -> Samples:
    t = _time(random, 1.2, 2.5)
    boom = _coloured(len(t), random, 30, random.uniform(300, 900), -0.5) * np.exp(-t * random.uniform(2, 4))
    return _finish(boom + 1.5 * _coloured(len(t), random, 100, 6000) * np.exp(-t * 25))


def typing(random: np.random.Generator) -> Samples:
    t = _time(random, 1.2, 2.8)
    starts = np.cumsum(random.uniform(0.06, 0.22, 50))

    def key(after: NDArray[np.float64]) -> NDArray[np.float64]:
        n = len(after)
        return (
            _coloured(n, random, 1200, 6000) * np.exp(-after * 130) * random.uniform(0.4, 1)
            if n > 8
            else 0 * after
        )

    return _finish(_hits(t, starts[starts < t[-1]], key))


def steam_whistle(random: np.random.Generator) -> Samples:
    t = _time(random, 1.0, 2.5)
    base = random.uniform(280, 420)
    chord = sum(_tone(base * ratio, t, 5) for ratio in (1, 1.19, 1.5))
    return _finish((chord + 0.8 * _coloured(len(t), random, 500, 5000)) * np.minimum(1, t * 12))


def whistling(random: np.random.Generator) -> Samples:
    t = _time(random, 1.0, 2.5)
    steps = random.integers(-5, 8, 12)
    hertz = random.uniform(900, 1500) * 2 ** (
        steps[np.minimum((t * random.uniform(2, 5)).astype(int), 11)] / 12
    )
    return _finish(
        _tone(hertz * (1 + 0.006 * np.sin(2 * np.pi * 5.5 * t)), t) + 0.02 * random.standard_normal(len(t))
    )


def fire(random: np.random.Generator) -> Samples:
    t = _time(random)
    cracks = _coloured(len(t), random, 1000, 7000) * (random.random(len(t)) < 0.0012)
    cracks = np.convolve(cracks, np.exp(-np.arange(120) / 18.0), mode="same") * 6
    return _finish(
        0.35 * _coloured(len(t), random, 60, 900, -0.4) * (0.6 + 0.4 * _wobble(len(t), random, 6)) + cracks
    )


NOISES: Mapping[tuple[str, str], Recipe] = {
    ("white noise", "白噪声"): white_noise, ("rain falling", "雨声"): rain, ("wind blowing", "风声"): wind,
    ("thunder", "雷声"): thunder, ("siren", "警报声"): siren, ("beep", "哔哔声"): beep,
    ("engine running", "发动机声"): engine, ("water dripping", "滴水声"): water_drops,
    ("water flowing", "流水声"): flowing_water, ("clock ticking", "滴答声"): ticking,
    ("alarm clock ringing", "闹钟声"): alarm_clock, ("footsteps", "脚步声"): footsteps,
    ("door knock", "敲门声"): knocking, ("heartbeat", "心跳声"): heartbeat,
    ("doorbell ringing", "门铃声"): doorbell,
    ("car horn", "汽车喇叭声"): car_horn, ("crickets chirping", "蟋蟀叫声"): crickets,
    ("bees buzzing", "蜜蜂嗡嗡声"): buzzing, ("explosion", "爆炸声"): explosion, ("typing", "打字声"): typing,
    ("train whistle", "火车鸣笛声"): steam_whistle, ("whistling", "口哨声"): whistling,
    ("fire crackling", "火焰噼啪声"): fire,
}  # fmt: skip
"""Names (English, Chinese) and how each is made."""
