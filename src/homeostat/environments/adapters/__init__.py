"""Gymnasium's interfaces to environments, and specs of Gymnasium's spaces."""

from ._gymnasium import (
    AbstractExtras as AbstractExtras,
    GymnasiumEnv as GymnasiumEnv,
    GymnasiumFuncEnv as GymnasiumFuncEnv,
    GymnasiumVectorEnv as GymnasiumVectorEnv,
)
from ._options import build_world as build_world
from ._spaces import space_of as space_of, spec_of as spec_of
from ._sprites import (
    ENV_ID as ENV_ID,
    register as register,
    sprites_env as sprites_env,
    sprites_func_env as sprites_func_env,
    sprites_vector_env as sprites_vector_env,
)
from ._worlds import (
    GymnasiumWorlds as GymnasiumWorlds,
    gymnasium_worlds as gymnasium_worlds,
    make_gymnasium as make_gymnasium,
)
