"""What all components share."""

from __future__ import annotations

import pytest

from tramway_dask import models, sampler, tessellers, time
from tramway_dask.component import Component


@pytest.mark.parametrize(
    "component",
    [models.DV(), models.D(), tessellers.GWR(), tessellers.KMeans(), sampler.Knn(), time.SlidingWindow(1.0)],
    ids=lambda c: type(c).__name__,
)
def test_what_a_class_says_of_itself_is_no_parameter(component: Component) -> None:
    """A text about an option without meaning that is worded anew must not change keys of results."""
    said = component.to_dict()
    assert said["type"] == type(component).__name__
    assert "lost" not in said
    assert set(said) - {"type"} <= set(component.parameters())
    before = component.fingerprint()
    type(component).lost = {**component.lost, "an_old_option": "it has no meaning"}
    try:
        assert component.fingerprint() == before
    finally:
        type(component).lost = {k: v for k, v in component.lost.items() if k != "an_old_option"}
