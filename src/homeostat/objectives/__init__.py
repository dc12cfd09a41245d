"""Energies in nats, lower is better: what engines descend."""

from ._free_energy import Evidence as Evidence, FreeEnergy as FreeEnergy, ImportanceWeighted as ImportanceWeighted
