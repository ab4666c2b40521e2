"""The sites that the package knows: Slurm clusters of Institut Pasteur."""

from __future__ import annotations

from .singularity import SingularitySlurm

__all__ = ["GPULab", "Maestro", "Tars"]


class Maestro(SingularitySlurm):
    """Maestro, the main cluster of Institut Pasteur."""

    @classmethod
    def hostname(cls) -> str:
        """Return the login node."""
        return "maestro.pasteur.fr"

    @classmethod
    def scratch(cls, username: str) -> str:
        """Return the scratch folder of a user."""
        return f"/pasteur/appa/scratch/{username}"

    @classmethod
    def singularity_executable(cls) -> str:
        """Return the command that runs containers."""
        return "apptainer"

    @classmethod
    def singularity_options(cls) -> str:
        """Return the options that the site's containers need."""
        return "-B /pasteur"

    @classmethod
    def remote_dependencies(cls) -> str:
        """Return the shell line that comes before anything else."""
        return "module load apptainer"


class GPULab(SingularitySlurm):
    """GPULab, the GPU cluster of the Hub of bioinformatics, Institut Pasteur."""

    @classmethod
    def hostname(cls) -> str:
        """Return the login node."""
        return "adm.inception.hubbioit.pasteur.fr"

    @classmethod
    def scratch(cls, username: str) -> str:
        """Return the scratch folder of a user."""
        return f"/master/home/{username}/scratch"


class Tars(SingularitySlurm):
    """Tars, the cluster that Maestro has replaced; it is closed."""

    @classmethod
    def hostname(cls) -> str:
        """Return the login node."""
        return "tars.pasteur.fr"

    @classmethod
    def scratch(cls, username: str) -> str:
        """Return the scratch folder of a user."""
        return f"/pasteur/scratch/users/{username}"

    @classmethod
    def singularity_options(cls) -> str:
        """Return the options that the site's containers need."""
        return "-B /pasteur"

    @classmethod
    def remote_dependencies(cls) -> str:
        """Return the shell line that comes before anything else."""
        return "module load singularity"
