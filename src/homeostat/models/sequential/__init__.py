"""Models of sequences: linear, switching and nonlinear dynamics, hidden Markov chains, and well-known systems."""

from ._bayesian_dynamics import BayesianLinearDynamics as BayesianLinearDynamics
from ._conditioned import (
    Conditioned as Conditioned,
    ConditionedOnFirst as ConditionedOnFirst,
    Given as Given,
    WithNoise as WithNoise,
    measured as measured,
    with_own_noise as with_own_noise,
)
from ._conjugate_prior import (
    ConjugatePrior as ConjugatePrior,
    discrete_divergence as discrete_divergence,
    most_probable_logits as most_probable_logits,
    uniform_logits as uniform_logits,
)
from ._continuous_dynamics import ContinuousLinearDynamics as ContinuousLinearDynamics, DurationFirst as DurationFirst
from ._continuous_parameters import ContinuousParameters as ContinuousParameters
from ._generalized_linear import GeneralizedLinear as GeneralizedLinear
from ._hidden_markov import HiddenMarkov as HiddenMarkov
from ._linear_dynamics import (
    AbstractLinearDynamics as AbstractLinearDynamics,
    AffineStep as AffineStep,
    LinearDynamics as LinearDynamics,
)
from ._linear_gaussian import LinearGaussian as LinearGaussian, Measurement as Measurement
from ._maps import (
    AffineMap as AffineMap,
    AffinePlusNetwork as AffinePlusNetwork,
    Diffusion as Diffusion,
    Euler as Euler,
    ResidualMap as ResidualMap,
    RungeKutta as RungeKutta,
)
from ._model_parameters import (
    LEAST_NOISE as LEAST_NOISE,
    AbstractModelParameters as AbstractModelParameters,
    LinearGaussianParameters as LinearGaussianParameters,
)
from ._nonlinear_gaussian import NonlinearGaussian as NonlinearGaussian
from ._periodic import Periodic as Periodic
from ._regression_emissions import RegressionEmissions as RegressionEmissions
from ._second_order import in_displacement_coordinates as in_displacement_coordinates, second_order as second_order
from ._simulate import (
    first_snapshot as first_snapshot,
    imagine as imagine,
    next_snapshot as next_snapshot,
    observed as observed,
)
from ._state_emissions import (
    AbstractEmissions as AbstractEmissions,
    BernoulliEmissions as BernoulliEmissions,
    CategoricalEmissions as CategoricalEmissions,
    GaussianEmissions as GaussianEmissions,
    PoissonEmissions as PoissonEmissions,
)
from ._state_space import PoissonEmission as PoissonEmission, StateSpace as StateSpace
from ._structural import Structural as Structural, apart as apart, side_by_side as side_by_side
from ._structural_components import (
    AbstractComponent as AbstractComponent,
    Autoregression as Autoregression,
    KnownInputs as KnownInputs,
    LearnedNumber as LearnedNumber,
    Quantity as Quantity,
    Season as Season,
    Trend as Trend,
)
from ._switching_linear import RegimeMixture as RegimeMixture, SwitchingLinear as SwitchingLinear
from ._systems import (
    growth_inputs as growth_inputs,
    lorenz_63 as lorenz_63,
    pendulum as pendulum,
    pendulum_from_pixels as pendulum_from_pixels,
    stochastic_volatility as stochastic_volatility,
    univariate_growth as univariate_growth,
)
from ._timed_action import TimedAction as TimedAction, pad_actions as pad_actions, sequence_length as sequence_length
from ._transitions import (
    AbstractTransitions as AbstractTransitions,
    AbstractTransitionTable as AbstractTransitionTable,
    ControlledTransitions as ControlledTransitions,
    JumpProcess as JumpProcess,
    TransitionMatrix as TransitionMatrix,
)
from .deep._deep_markov import DeepMarkov as DeepMarkov, GatedTransition as GatedTransition, deep_markov as deep_markov
from .deep._densities import (
    OUTPUT_LOG_VARIANCE as OUTPUT_LOG_VARIANCE,
    VRNN_LOG_VARIANCE as VRNN_LOG_VARIANCE,
    music_density as music_density,
    speech_density as speech_density,
    video_density as video_density,
)
from .deep._parts import ConditionalNormal as ConditionalNormal, Readout as Readout, gain_of as gain_of
from .deep._srnn import (
    SRNN as SRNN,
    SRNN_MUSIC as SRNN_MUSIC,
    SRNN_SPEECH as SRNN_SPEECH,
    SRNNCarry as SRNNCarry,
    SRNNSizes as SRNNSizes,
    srnn as srnn,
)
from .deep._svg import (
    SVG as SVG,
    SVG_KTH as SVG_KTH,
    SVG_MOVING_DIGITS as SVG_MOVING_DIGITS,
    SVG_ROBOT as SVG_ROBOT,
    SVGCarry as SVGCarry,
    SVGSizes as SVGSizes,
    svg as svg,
)
from .deep._two_timescales import (
    TwoTimescales as TwoTimescales,
    TwoTimescalesCarry as TwoTimescalesCarry,
    two_timescales as two_timescales,
)
from .deep._vrnn import (
    VRNN as VRNN,
    VRNN_SPEECH as VRNN_SPEECH,
    VRNNCarry as VRNNCarry,
    VRNNSizes as VRNNSizes,
    vrnn as vrnn,
)
