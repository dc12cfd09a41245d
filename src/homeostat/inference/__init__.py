"""The verbs of inference, and the engines that carry them out."""

from ._infer import Posterior as Posterior, infer as infer
