"""The interactive dSprites world: perceive, learn and act."""

ORDER = ("perception", "templates", "calibration", "dynamics", "control", "epistemic")
