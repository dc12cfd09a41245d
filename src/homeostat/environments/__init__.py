"""Environments: the interactive dSprites world, models as worlds, and episodes."""

from ._antialiased import Antialiased as Antialiased
from ._archive import (
    ArchiveImages as ArchiveImages,
    ArchiveReport as ArchiveReport,
    check_archive as check_archive,
    render_block as render_block,
)
from ._configurations import (
    AbstractConfigurations as AbstractConfigurations,
    FactorisedConfigurations as FactorisedConfigurations,
    FixedConfiguration as FixedConfiguration,
    UniformConfigurations as UniformConfigurations,
)
from ._dsprites import DSprites as DSprites, SpriteState as SpriteState, moving_sprites as moving_sprites
from ._episodes import AutoReset as AutoReset, TimedState as TimedState, TimeLimit as TimeLimit, TimeStep as TimeStep
from ._goals import (
    AbstractGoal as AbstractGoal,
    ImagePreference as ImagePreference,
    LatentPreference as LatentPreference,
    Target as Target,
)
from ._grid import FACTORS as FACTORS, SYMMETRY_ORDER as SYMMETRY_ORDER, SpriteGrid as SpriteGrid
from ._motion import (
    AbstractMotion as AbstractMotion,
    ContinuousMotion as ContinuousMotion,
    GridMotion as GridMotion,
    OneFactorMotion as OneFactorMotion,
    SecondOrderMotion as SecondOrderMotion,
)
from ._outlines import outline as outline
from ._pendulum import Pendulum as Pendulum
from ._probes import (
    Probe as Probe,
    action_probe as action_probe,
    aim_probe as aim_probe,
    constant_probe as constant_probe,
    delay_probe as delay_probe,
    state_probe as state_probe,
    truncation_probe as truncation_probe,
)
from ._renderers import AbstractRenderer as AbstractRenderer, PixelExact as PixelExact
from ._scene import RAINBOW as RAINBOW, SceneState as SceneState, SpriteScene as SpriteScene
from ._simulated import Simulated as Simulated
from ._world import AbstractSpriteWorld as AbstractSpriteWorld
from ._worlds import AbstractWorlds as AbstractWorlds, FunctionalWorlds as FunctionalWorlds
from ._wrapper import AbstractWrapper as AbstractWrapper
from .adapters import register as _register
from .wrappers import (
    AbstractObservationWrapper as AbstractObservationWrapper,
    Fovea as Fovea,
    FoveaObservation as FoveaObservation,
    FoveaState as FoveaState,
    Occluders as Occluders,
    Patch as Patch,
    PixelNoise as PixelNoise,
)

_register()
