"""The same world through Gymnasium, alone and in a batch."""

import gymnasium
import numpy as np

# The part before the colon is a module to import, which registers the world; it can be left out once it is imported.
DSPRITES = "homeostat.environments:homeostat/DSprites-v0"

env = gymnasium.make(DSPRITES, render_mode="rgb_array")
image, info = env.reset(seed=0, options={"latents": [2, 5, 0, 10, 20], "goal": [2, 5, 3, 12, 20]})
print(env.action_space, info["latents"], "steps to the goal:", info["steps_to_goal"])
for action in ([1, 2, 2, 1], [1, 2, 2, 1], [1, 2, 1, 1]):  # 0, 1, 2 mean -1, 0, +1
    image, reward, terminated, truncated, info = env.step(np.array(action))
assert terminated
assert not truncated
assert env.render().shape == (64, 64, 3)

batch = gymnasium.make_vec(DSPRITES, num_envs=256, objects=2, fovea=24)
seen, infos = batch.reset(seed=0)
seen, rewards, terminated, truncated, infos = batch.step(batch.action_space.sample())
print("a batch of windows:", seen["window"].shape, "centred at", seen["centre"][0])
assert infos["latents"].shape == (256, 2, 5)
