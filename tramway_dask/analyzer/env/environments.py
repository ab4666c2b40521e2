"""The environments, under the name by which TRamWAy's scripts import them."""

from __future__ import annotations

from ...environments import GPULab, LocalHost, Maestro, SingularitySlurm, Slurm, SlurmOverSSH, Tars

__all__ = ["GPULab", "LocalHost", "Maestro", "SingularitySlurm", "Slurm", "SlurmOverSSH", "Tars"]
