"""Comparison of conditions: files are the unit, p-values are right, too few files are said."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from cases import analyzer, walk
from click.testing import CliRunner
from matplotlib.figure import Figure
from scipy import stats

import tramway_dask as td
from tramway_dask import plot
from tramway_dask.cli import main
from tramway_dask.errors import SpecificationError
from tramway_dask.experiment import compare, per_file, per_replicate
from tramway_dask.experiment.significance import adjusted, hedges, permuted, run_test


def table(values: dict[str, list[float]], cells: int = 3, **more: object) -> pd.DataFrame:
    """Return maps with one value per file, the same in all cells, so that the file's value is known."""
    rows = []
    for condition, files in values.items():
        for i, value in enumerate(files):
            row = {"source": f"{condition}{i:02d}", "condition": condition, "replicate": None}
            rows += [row | {"roi": "full", "cell": c, "n": 10, "diffusivity": value} for c in range(cells)]
    return pd.DataFrame(rows).assign(**more)


def test_weighted_summaries() -> None:
    rng = np.random.default_rng(0)
    maps = pd.DataFrame({"source": rng.choice(list("abc"), 300), "n": rng.integers(0, 9, 300)})
    maps["diffusivity"] = rng.gamma(2, 1, 300)
    maps.loc[:20, "diffusivity"] = np.nan
    maps = pd.concat([maps, pd.DataFrame({"source": ["d"], "n": [5], "diffusivity": [np.nan]})])
    mean, median = (
        per_file(maps, "diffusivity", statistic=s).set_index("source") for s in ("mean", "median")
    )
    for name in "abc":
        part = maps[(maps["source"] == name) & maps["diffusivity"].notna()]
        each = np.repeat(part["diffusivity"].to_numpy(), part["n"])
        assert mean["value"][name] == pytest.approx(each.mean(), rel=1e-12)
        assert mean["spread"][name] == pytest.approx(each.std(), rel=1e-12)
        assert median["value"][name] == pytest.approx(np.median(each), rel=1e-12)
        assert mean["n"][name] == len(each)
        assert mean["cells"][name] == (part["n"] > 0).sum()
    assert np.isnan(mean["value"]["d"])
    assert np.isnan(median["value"]["d"])


def test_amplitudes() -> None:
    maps = table({"a": [1, 1]}).assign(**{"force x": 3.0, "force y": 4.0, "force x se": 1.0})
    assert set(per_file(maps, "force")["value"]) == {5.0}
    with pytest.raises(SpecificationError, match="no variable 'forc'; did you mean 'force"):
        per_file(maps, "forc")


def test_permutations_against_scipy() -> None:
    rng = np.random.default_rng(1)
    for one, other in ((4, 4), (3, 6), (5, 7)):
        a, b = rng.normal(size=one), rng.normal(0.8, 1, size=other)
        expected = stats.permutation_test(
            (a, b), lambda x, y, axis: np.abs(x.mean(axis) - y.mean(axis)), vectorized=True,
            n_resamples=np.inf, alternative="greater",
        )  # fmt: skip
        assert permuted(a, b).p == pytest.approx(expected.pvalue, rel=1e-12)
    # drawn at random where there are too many: near the exact one
    a, b = rng.normal(size=12), rng.normal(0.9, 1, size=12)
    found = permuted(a, b, seed=3)
    assert "20,000 random" in found.note
    normal = stats.ttest_ind(a, b).pvalue
    assert found.p == pytest.approx(normal, abs=0.02)
    assert found == permuted(a, b, seed=3)


def test_paired_against_all_signs() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=7), rng.normal(0.5, 1, 7)
    means = [abs(np.mean((a - b) * s)) for s in itertools.product([1, -1], repeat=7)]
    expected = np.mean(np.array(means) >= abs(np.mean(a - b)) - 1e-12)
    assert permuted(a, b, paired=True).p == pytest.approx(expected, rel=1e-12)


def test_other_tests_against_scipy() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=8), rng.normal(1, 2, 6)
    values = {"one": list(a), "two": list(b)}
    row = compare(table(values), test="welch").tests.iloc[0]
    expected = stats.ttest_ind(b, a, equal_var=False)
    limits = expected.confidence_interval()
    assert row["p"] == pytest.approx(expected.pvalue, rel=1e-9)
    assert (row["low"], row["high"]) == pytest.approx((limits.low, limits.high), rel=1e-9)
    row = compare(table(values), test="mann-whitney").tests.iloc[0]
    assert row["p"] == pytest.approx(stats.mannwhitneyu(b, a, method="exact").pvalue, rel=1e-9)
    assert row["superiority"] == pytest.approx((b[:, None] > a).mean())
    options = {"paired": True, "confidence": 0.95, "seed": 0, "unit": "files"}
    assert run_test("welch", a[:6], b, **options).p == pytest.approx(stats.ttest_rel(a[:6], b).pvalue)
    assert run_test("mann-whitney", a[:6], b, **options).p == pytest.approx(stats.wilcoxon(a[:6] - b).pvalue)
    pooled = np.sqrt((7 * a.var(ddof=1) + 5 * b.var(ddof=1)) / 12)
    assert hedges(a, b) == pytest.approx((a.mean() - b.mean()) / pooled * (1 - 3 / (4 * 12 - 1)), rel=2e-3)
    assert adjusted(np.array([0.01, np.nan, 0.04, 0.03])).tolist() == pytest.approx(
        [0.03, np.nan, 0.06, 0.06], nan_ok=True
    )


def test_without_effect_p_is_uniform() -> None:
    rng = np.random.default_rng(4)
    p = np.array([permuted(*rng.exponential(size=(2, 5))).p for _ in range(400)])
    # exact tests of 252 rearrangements, each with its mirror image: 126 equal steps
    steps = np.arange(1, 127) / 126
    share = np.array([(p <= s + 1e-9).mean() for s in steps])
    assert np.abs(share - steps).max() < 1.63 / np.sqrt(400)  # Kolmogorov, 1 %


def test_cells_and_files_of_a_replicate_are_not_independent() -> None:
    rng = np.random.default_rng(5)
    names = pd.MultiIndex.from_product([list("ab"), range(4), range(3), range(6)])
    maps = pd.DataFrame({"condition": names.get_level_values(0), "n": 9})
    maps["replicate"] = names.get_level_values(1).astype(str)
    maps["source"] = [f"{c}{r}{f}" for c, r, f, _ in names]
    alarms = dict.fromkeys(("cells", "file", None), 0)
    for _ in range(25):
        # conditions are the same; days differ, files of a day and cells of a file hardly
        day, file = rng.normal(size=(2, 4, 1, 1)), 0.2 * rng.normal(size=(2, 4, 3, 1))
        maps["diffusivity"] = (day + file + 0.1 * rng.normal(size=(2, 4, 3, 6))).ravel()
        halves = np.split(maps["diffusivity"].to_numpy(), 2)
        alarms["cells"] += stats.ttest_ind(*halves).pvalue <= 0.05
        for unit in ("file", None):
            alarms[unit] += compare(maps, unit=unit, test="welch").tests["p"][0] <= 0.05
    assert alarms["cells"] > 12
    assert alarms["file"] > 5
    assert alarms[None] <= 3


def test_cells_do_not_count() -> None:
    values = {"a": [1.0, 1.1, 1.2, 1.3], "b": [1.15, 1.25, 1.35, 1.45]}
    few, many = compare(table(values, 1)), compare(table(values, 500))
    pd.testing.assert_frame_equal(few.tests, many.tests)
    assert many.conditions["files"].tolist() == [4, 4]
    low, high = stats.t.interval(0.95, 3, np.mean(values["a"]), stats.sem(values["a"]))
    assert many.conditions.loc[0, ["low", "high"]].tolist() == pytest.approx([low, high])


def test_too_few_files() -> None:
    three = compare(table({"a": [1, 2, 3], "b": [4, 5, 6]}))
    assert np.isnan(three.tests["p"]).all()
    assert "no test is possible with 3 and 3 files: p cannot be below 0.1" in three.summary()
    assert np.isfinite(compare(table({"a": [1, 2, 3, 4], "b": [4, 5, 6, 7]})).tests["p"]).all()
    one = compare(table({"a": [1], "b": [4, 5, 6]}), test="welch")
    assert "no test is possible with 3 and 1 files" in one.summary()
    assert "no interval from a single file (1 files)" in one.summary()
    alike = compare(table({"a": [1, 1], "b": [4, 4]}), test="welch")
    assert "values of a condition are all the same" in alike.summary()
    alone = compare(table({"a": [1, 2]}))
    assert alone.tests.empty
    assert "but one condition" in alone.summary()


def test_replicates_first() -> None:
    maps = table({"a": [1, 2, 3, 7], "b": [4, 5, 9, 9]})
    day = {"a00": "1", "a01": "1", "a02": "2", "a03": "3", "b00": "1", "b01": "2", "b02": "3", "b03": "3"}
    maps["replicate"] = maps["source"].map(day)
    found = compare(maps)
    assert found.unit == "replicate"
    assert found.replicates is not None
    assert found.replicates["value"].tolist() == [1.5, 3, 7, 4, 5, 9]
    assert found.conditions["mean"].tolist() == pytest.approx([11.5 / 3, 6])
    assert found.conditions["files"].tolist() == [4, 4]
    assert "4 files in 3 replicates" in found.summary()
    assert "unit='file'" in found.summary()
    paired = compare(maps, test="welch", paired=True)
    assert paired.tests["p"][0] == pytest.approx(stats.ttest_rel([4, 5, 9], [1.5, 3, 7]).pvalue)
    assert "too small" in compare(maps, unit="file").summary()
    assert len(per_replicate(per_file(maps, "diffusivity"))) == 6


def test_several_conditions() -> None:
    values = {"a": [1, 2, 3, 4, 5], "b": [2, 3, 4, 5, 7], "c": [7, 8, 9, 9.5, 10]}
    pairs = compare(table(values)).tests
    assert pairs[["condition", "reference"]].to_numpy().tolist() == [["b", "a"], ["c", "a"], ["c", "b"]]
    assert (pairs["p_adjusted"] >= pairs["p"]).all()
    against = compare(table(values), reference="b").tests
    assert against[["condition", "reference"]].to_numpy().tolist() == [["a", "b"], ["c", "b"]]


def test_what_is_wrong() -> None:
    maps = table({"a": [1, 2], "b": [3, 4]})
    for options, message in (
        ({"test": "t"}, "test: unknown value 't'; known: 'mann-whitney', 'permutation', 'welch'"),
        ({"unit": "cell"}, "unit: unknown value 'cell'; known: 'file', 'replicate'"),
        ({"statistic": "mode"}, "statistic: unknown value 'mode'"),
        ({"reference": "c"}, "no condition 'c'; known: 'a', 'b'"),
        ({"confidence": 95}, "confidence"),
        ({"unit": "replicate"}, "4 files have no replicate, such as 'a00'"),
        ({"paired": True}, "paired: needs replicates"),
    ):
        with pytest.raises(SpecificationError, match=message):
            compare(maps, **options)
    with pytest.raises(SpecificationError, match="no file has a condition"):
        compare(maps.drop(columns="condition"))
    with pytest.raises(SpecificationError, match=r"several samplings \('fine', 'coarse'\)"):
        compare(maps.assign(sampling=["fine", "coarse"] * 6))
    found = compare(pd.concat([maps, table({"x": [1]}).assign(condition=None)]))
    assert "1 files have no condition and are left out: x00" in found.summary()


def test_run_and_compare(tmp_path) -> None:
    data = [walk(i, 6, diffusivity=0.05 if i % 2 else 0.4) for i in range(4)]
    a = analyzer(tmp_path / "results", data, roi=None)
    for i, source in enumerate(a.spt_data):
        source.condition = ("fast", "slow")[i % 2]
    a.pipeline.append_stage(td.stages.tessellate_and_infer(map_label="d"))
    a.run(progress=False)
    found = a.compare(test="welch")
    assert found.label == "diffusivity (µm²/s)"
    assert found.tests["difference"][0] < -0.2
    ax = found.plot()
    assert [t.get_text() for t in ax.get_xticklabels()] == ["fast\n2 files", "slow\n2 files"]
    assert "µm" in ax.get_ylabel()
    assert "p = " in ax.get_xlabel()
    dots = np.concatenate([c.get_offsets() for c in ax.collections if len(c.get_offsets()) == 2])
    assert sorted(dots[:, 1]) == pytest.approx(sorted(found.files["value"]))
    picture = tmp_path / "p.png"
    command = ["compare", str(tmp_path / "results"), "--test", "welch", "-o", str(picture)]
    ran = CliRunner().invoke(main, command)
    assert ran.exit_code == 0, ran.output
    assert ran.output.startswith(found.summary())
    assert picture.stat().st_size > 1000
    ran = CliRunner().invoke(main, ["compare", str(tmp_path / "results"), "--variable", "difusivity"])
    assert ran.exit_code == 2
    assert "did you mean 'diffusivity'" in ran.output


def test_plot_of_replicates() -> None:
    maps = table({"a": [1, 2, 3, 7], "b": [4, 5, 9, 9]})
    maps["replicate"] = maps["source"].str[-1]
    ax = Figure().add_subplot()
    assert plot.conditions(compare(maps), ax=ax) is ax
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["0", "1", "2", "3"]
    assert "4 replicates" in ax.get_xticklabels()[0].get_text()
