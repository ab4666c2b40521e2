"""Where the work is done."""

from __future__ import annotations

from . import containers
from .adapters import GPULab, Maestro, Tars
from .base import Environment, GivenClient
from .local import LocalHost
from .overssh import SlurmOverSSH
from .singularity import SingularitySlurm
from .sites import sites
from .slurm import Slurm

__all__ = [
    "Environment",
    "GPULab",
    "GivenClient",
    "LocalHost",
    "Maestro",
    "SingularitySlurm",
    "Slurm",
    "SlurmOverSSH",
    "Tars",
    "containers",
    "sites",
]
