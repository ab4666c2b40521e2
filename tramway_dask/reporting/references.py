"""Works that a methods paragraph cites, numbered as they are cited."""

from __future__ import annotations

__all__ = ["References"]

WORKS = {
    "tramway": (
        "Laurent, F., Floderer, C., Favard, C., Muriaux, D., Masson, J.-B. & Vestergaard, C. L. Mapping "
        "spatio-temporal dynamics of single biomolecules in living cells. Physical Biology 17, 015003 (2020).",
        "10.1088/1478-3975/ab5167",
    ),
    "tramway software": (
        "Laurent, F., Verdier, H., Duval, M., Serov, A., Vestergaard, C. L. & Masson, J.-B. TRamWAy: mapping "
        "physical properties of individual biomolecule random motion in large-scale single-particle tracking "
        "experiments. Bioinformatics 38, 3149–3150 (2022).",
        "",
    ),
    "inferencemap": (
        "El Beheiry, M., Dahan, M. & Masson, J.-B. InferenceMAP: mapping of single-molecule dynamics with Bayesian "
        "inference. Nature Methods 12, 594–595 (2015).",
        "",
    ),
    "masson": (
        "Masson, J.-B. et al. Mapping the energy and diffusion landscapes of membrane proteins at the cell surface "
        "using high-density single-molecule imaging and Bayesian inference: application to the multiscale dynamics "
        "of glycine receptors in the neuronal membrane. Biophysical Journal 106, 74–83 (2014).",
        "",
    ),
    "serov": (
        "Serov, A. S., Laurent, F., Floderer, C., Perronet, K., Favard, C., Muriaux, D., Vestergaard, C. L. & "
        "Masson, J.-B. Statistical tests for force inference in heterogeneous environments. Scientific Reports 10, "
        "3783 (2020).",
        "10.1038/s41598-020-60220-1",
    ),
    "dask": (
        "Rocklin, M. Dask: parallel computation with blocked algorithms and task scheduling. Proceedings of the "
        "14th Python in Science Conference, 126–132 (2015).",
        "10.25080/Majora-7b98e3ed-013",
    ),
    "numpy": (
        "Harris, C. R. et al. Array programming with NumPy. Nature 585, 357–362 (2020).",
        "10.1038/s41586-020-2649-2",
    ),
    "scipy": (
        "Virtanen, P. et al. SciPy 1.0: fundamental algorithms for scientific computing in Python. Nature Methods "
        "17, 261–272 (2020).",
        "10.1038/s41592-019-0686-2",
    ),
    "marsland": (
        "Marsland, S., Shapiro, J. & Nehmzow, U. A self-organising network that grows when required. Neural "
        "Networks 15, 1041–1058 (2002).",
        "",
    ),
    "levet": (
        "Levet, F. et al. SR-Tesseler: a method to segment and quantify localization-based super-resolution "
        "microscopy data. Nature Methods 12, 1065–1071 (2015).",
        "",
    ),
}


class References:
    """Numbers works at their first citation."""

    def __init__(self) -> None:
        self._cited: list[str] = []

    def cite(self, *names: str) -> str:
        """Return the numbers of works, as in ``[1, 2]``."""
        for name in names:
            if name not in self._cited:
                self._cited.append(name)
        return f"[{', '.join(str(self._cited.index(name) + 1) for name in names)}]"

    @property
    def works(self) -> list[tuple[str, str]]:
        """The cited works and their DOI, empty where none is given."""
        return [WORKS[name] for name in self._cited]
