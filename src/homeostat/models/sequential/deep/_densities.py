"""Output densities of chapter 4: speech, music and video."""

import jax

from ...static import Bernoulli, ConditionalDiscretizedGaussian

SPEECH_BIN_WIDTH = 0.0018190742
"""Distance of neighbouring amplitudes of 16-bit TIMIT after its waveforms were divided by their standard deviation, from the code
of Marino, Cvitkovic and Yue (2018). Data scaled in another way have another width."""

VIDEO_BIN_WIDTH = 1.0 / 256.0
"""Distance of neighbouring grey values k / 256, from the same code."""

VRNN_LOG_VARIANCE = (-20.0, 5.0)
"""Where a VRNN's log variance of a sample is clipped, from the same code."""

OUTPUT_LOG_VARIANCE = (-10.0, 15.0)
"""Where other log variances of the data are clipped: the lower bound of that code, which has no upper one; the upper keeps an
untrained network from overflow."""


def speech_density(
    num_samples: int = 200,
    bin_width: float = SPEECH_BIN_WIDTH,
    log_variance_bounds: tuple[float, float] = OUTPUT_LOG_VARIANCE,
) -> ConditionalDiscretizedGaussian:
    """Probability of the bins around `num_samples` amplitudes of a step, with means and log variances from the decoder.

    Args:
        num_samples: amplitudes in one step.
        bin_width: distance of neighbouring amplitudes, in the unit of the data.
        log_variance_bounds: where a log variance is clipped; `VRNN_LOG_VARIANCE` for a VRNN as in the chapter.

    References:
        Marino (thesis), Sec. 4.4, "Speech modeling": log probabilities, by integrating over the discretisation window.
    """
    return ConditionalDiscretizedGaussian(
        (num_samples,), bin_width, None, None, log_variance_bounds=log_variance_bounds
    )


def music_density(num_keys: int = 88) -> Bernoulli:
    """Which of `num_keys` notes sound in a step, independently given the latents.

    References:
        Marino (thesis), Sec. 4.4, "Music modeling".
    """
    return Bernoulli((num_keys,))


def video_density(*shape: int) -> ConditionalDiscretizedGaussian:
    """Probability of the grey values k / 256 of a frame, with means in (0, 1) and log variances from the decoder.

    Args:
        shape: of a frame, such as (64, 64) or (64, 64, 3); by default 64 x 64.

    References:
        Marino (thesis), Sec. 4.4, "Video modeling": a Gaussian output density in the place of squared error.
    """
    shape = shape or (64, 64)
    high = 1.0 - VIDEO_BIN_WIDTH
    return ConditionalDiscretizedGaussian(
        shape, VIDEO_BIN_WIDTH, 0.0, high, link=jax.nn.sigmoid, log_variance_bounds=OUTPUT_LOG_VARIANCE
    )
