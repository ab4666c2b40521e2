"""Options by TRamWAy's names: each is a parameter, an alias, or said to do nothing, with the reason."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pandas as pd
import pytest
from test_models import partition

from tramway_dask.component import Component
from tramway_dask.errors import SpecificationError, UnknownAttributeError
from tramway_dask.inference import DD, DF, DV, D, from_plugin
from tramway_dask.segmentation import tessellers

# what TRamWAy hands over itself, and the plumbing of its optimizer
INTERNAL = {
    "cells",
    "self",
    "args",
    "kwargs",
    "_kwargs",
    "localization_error",
    "fun",
    "component",
    "covariate",
}
INTERNAL |= {"gradient_subspace", "descent_subspace", "bounds", "_sum", "Component", "returns"}


def options_of_tramway(plugin):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tramway.inference import plugins
        from tramway.inference.gradient import get_grad_kwargs
        from tramway.inference.optimization import minimize_sparse_bfgs
        from tramway.inference.stochastic_dv import infer_stochastic_DV

        setup, module = plugins[plugin]
        functions = [getattr(module, setup["infer"]), get_grad_kwargs]
        if "stochastic" in plugin:
            functions += [infer_stochastic_DV, minimize_sparse_bfgs]
    named = {name for f in functions for name in inspect.signature(f).parameters}
    return (named | set(setup["arguments"])) - INTERNAL


@pytest.mark.oracle
@pytest.mark.parametrize(
    "plugin, least",
    [
        ("dv", 12),
        ("stochastic.dv", 50),
        ("semi.stochastic.dv", 50),
        ("standard.d", 8),
        ("standard.ddrift", 9),
        ("standard.df", 9),
        ("unsmooth.d", 2),
        ("snr", 6),
    ],
)
def test_every_option_of_tramway_is_accepted_or_said_to_be_lost(plugin, least):
    model = from_plugin(plugin)
    names = options_of_tramway(plugin)
    assert len(names) >= least
    for name in sorted(names):
        if name in type(model).lost:
            with pytest.warns(DeprecationWarning, match=rf"\.{name} does nothing here: \w+"):
                setattr(model, name, 1)
        else:
            assert name in model.parameters(), name


@pytest.mark.oracle
@pytest.mark.parametrize(
    "call, changed",
    [
        ({}, {"stochastic", "allow_negative_potential", "verbose"}),
        ({"start": "stochastic"}, {"ls_step_max", "ftol", "low_df_rate", "max_iter"}),
        ({"variant": "stochastic"}, {"ls_step_max", "ftol", "low_df_rate"}),
        ({"variant": "naive"}, {"rgrad"}),
    ],
)
def test_what_tramway_sets_by_default_is_said(call, changed):
    """The wrapper's own settings: known here, and no prior among them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tramway.analyzer import models

        theirs = models.DV(**call)._kwargs
    ours = DV(**call)
    assert changed <= set(theirs)
    for name, value in theirs.items():
        if name in DV.lost:
            continue
        assert name in ours.parameters()
        # those that say when to stop are stricter here
        if name not in ("ftol", "max_iter"):
            assert getattr(ours, name) == value or (name, ours._roughness_kind()) == ("rgrad", value)
    assert ours.diffusivity_prior is None and ours.potential_prior is None and ours.verbose is False


def test_aliases_are_the_same_parameter():
    for name in ("diffusion_prior", "diffusivity_spatial_prior", "diffusion_spatial_prior"):
        assert DV(**{name: 3.0}) == DV(diffusivity_prior=3.0)
        assert D(**{name: "auto"}).diffusivity_prior == "auto"
    assert DV(potential_spatial_prior=2.0) == DV(potential_prior=2.0)
    for model in (D, DD, DF, DV):
        assert model(diffusion_time_prior=2.0) == model(diffusivity_time_prior=2.0)
        with pytest.raises(SpecificationError, match="diffusivity_time_prior"):
            model(diffusion_time_prior=-2.0)
    assert DF(potential_prior=2.0) == DF(force_prior=2.0)
    assert from_plugin("dv", epsilon=0.1).grad_epsilon == 0.1
    priors = DV(diffusion_prior=3.0, potential_prior=1.0).infer(partition()).attrs["priors"]
    assert priors == {"diffusivity_prior": 3.0, "potential_prior": 1.0}


def test_a_start_in_one_vector():
    p = partition()
    priors = {"diffusivity_prior": 5.0, "potential_prior": 1.0}
    found = DV(**priors).infer(p)
    d, v = found["diffusivity"].to_numpy(), found["potential"].to_numpy()
    again = DV(**priors, x0=np.concatenate([d, v])).infer(p)
    assert again.attrs["iterations"] < found.attrs["iterations"]
    pd.testing.assert_frame_equal(again.table, found.table, rtol=1e-5, atol=1e-6)
    model = DV(D0=0.1, V0=v)
    np.testing.assert_array_equal(model.x0, [*np.full(len(v), 0.1), *v])
    model.x0 = None
    assert model.D0 is None and model.V0 is None and model.x0 is None
    with pytest.raises(SpecificationError, match="expected D, then V"):
        model.x0 = np.ones(3)
    with pytest.raises(SpecificationError, match=f"one per inferred cell \\({len(v)}\\)"):
        DV(**priors, x0=np.ones(2)[[0, 0, 1, 1]]).infer(p)


def test_constructors_name_what_is_near():
    with pytest.raises(UnknownAttributeError, match="'diffusivity_prior'"):
        DV(difusivity_prior=1)
    with pytest.raises(UnknownAttributeError, match="'resolution'"):
        tessellers.Hexagons(resolutoin=0.1)
    with pytest.warns(DeprecationWarning, match="exact derivatives") as caught:
        DV("stochastic", ls_step_max=(0.025, 0.5))
    assert caught[0].filename == __file__
    with pytest.raises(TypeError, match="multiple values"):
        DV("stochastic", variant="naive")


def test_a_constructor_of_ones_own_keeps_its_arguments():
    class Mine(Component):
        def __init__(self, size, **rest):
            self._size, self._rest = size, rest

    assert Mine(size=2, colour=3)._rest == {"colour": 3}


def test_the_precision_belongs_to_the_data():
    from tramway_dask import RWAnalyzer

    a = RWAnalyzer()
    a.mapper = DV()
    a.mapper.localization_precision = 0.02
    assert a.spt_data.localization_precision == 0.02 and a.mapper.localization_error == pytest.approx(4e-4)
    a.mapper.localization_error = 9e-4
    assert a.mapper.localization_precision == pytest.approx(0.03)
    with pytest.raises(UnknownAttributeError, match="belongs to no analyzer"):
        DV().localization_precision = 0.02
