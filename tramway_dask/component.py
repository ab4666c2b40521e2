"""The building block of an analyzer's specification.

A component is a small dataclass: parameters with defaults, checked whenever
they are set, comparable and hashable by content, picklable, printable. It
holds settings and nothing else: data and results live elsewhere.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import math
import types
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from .cards import card, folded, guarded, rows
from .errors import SpecificationError, UnknownAttributeError, suggest

__all__ = [
    "Component",
    "boolean",
    "canonical",
    "count",
    "fingerprint",
    "fraction",
    "non_negative",
    "one_of",
    "optional",
    "positive",
    "setting",
]

Check = Callable[[str, Any], Any]


def setting(default: Any = None, *, check: Check | None = None, **kwargs: Any) -> Any:
    """Declare one parameter of a component.

    Parameters
    ----------
    default : object
        Default value (use ``default_factory=`` for mutable ones).
    check : callable, optional
        ``check(name, value)`` returns the value to store or raises
        `SpecificationError`.
    """
    if "default_factory" not in kwargs:
        kwargs["default"] = default
    return dataclasses.field(metadata={"check": check}, **kwargs)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool | str | bytes) or not np.isscalar(value):
        raise SpecificationError(f"{name}: expected a number, got {value!r}")
    number = float(value)  # type: ignore[arg-type]
    if not math.isfinite(number):
        raise SpecificationError(f"{name}: expected a finite number, got {value!r}")
    return number


def positive(name: str, value: Any) -> float:
    """Accept a number above zero."""
    number = _number(name, value)
    if number <= 0:
        raise SpecificationError(f"{name}: expected a number above 0, got {value!r}")
    return number


def non_negative(name: str, value: Any) -> float:
    """Accept a number that is zero or above."""
    number = _number(name, value)
    if number < 0:
        raise SpecificationError(f"{name}: expected a number that is not negative, got {value!r}")
    return number


def fraction(name: str, value: Any) -> float:
    """Accept a number between zero and one."""
    number = _number(name, value)
    if not 0 <= number <= 1:
        raise SpecificationError(f"{name}: expected a number between 0 and 1, got {value!r}")
    return number


def count(name: str, value: Any) -> int:
    """Accept a whole number that is zero or above."""
    number = _number(name, value)
    if number < 0 or number != int(number):
        raise SpecificationError(f"{name}: expected a whole number from 0 up, got {value!r}")
    return int(number)


def boolean(name: str, value: Any) -> bool:
    """Accept True or False."""
    if not isinstance(value, bool | np.bool_):
        raise SpecificationError(f"{name}: expected True or False, got {value!r}")
    return bool(value)


def one_of(*choices: Any) -> Check:
    """Accept one of the listed values."""

    def check(name: str, value: Any) -> Any:
        if value in choices:
            return value
        raise SpecificationError(f"{name}: unknown value {value!r}; {suggest(value, choices)}")

    return check


def optional(inner: Check) -> Check:
    """Accept None, or what `inner` accepts."""

    def check(name: str, value: Any) -> Any:
        return None if value is None else inner(name, value)

    return check


class _Keywords(type):
    """Lets a constructor take every name that can be set: aliases, and what TRamWAy's users may pass."""

    def __call__(cls: Any, *args: Any, **kwargs: Any) -> Any:
        late = {} if kwargs.keys() <= _fields(cls).keys() else _not_taken(cls, kwargs)
        made = type.__call__(cls, *args, **{k: v for k, v in kwargs.items() if k not in late})
        for name, value in late.items():
            if name in cls.lost:
                cls._say_lost(name)
            else:
                setattr(made, name, value)
        return made


def _not_taken(cls: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments that the constructor of a component does not take itself."""
    taken = inspect.signature(cls.__init__).parameters
    if any(p.kind is p.VAR_KEYWORD for p in taken.values()):
        return {}
    return {k: v for k, v in kwargs.items() if k not in taken}


class Component(metaclass=_Keywords):
    """Base class of the dataclasses that make up a specification.

    Subclasses are decorated with ``@dataclass(eq=False, repr=False)`` and declare
    their parameters with `setting`. `lost` names the attributes that TRamWAy's
    users may set and that have no meaning here, with what replaces them.
    """

    lost: ClassVar[Mapping[str, str]] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        cls = type(self)
        if name.startswith("_"):
            object.__setattr__(self, name, value)
            return
        field = _fields(cls).get(name)
        if field is not None:
            check = field.metadata.get("check")
            if check is not None:
                value = check(f"{cls.__name__}.{name}", value)
            object.__setattr__(self, name, value)
        elif isinstance(getattr(cls, name, None), property):
            object.__setattr__(self, name, value)
        elif name in cls.lost:
            self._say_lost(name)
        else:
            raise UnknownAttributeError(
                f"{cls.__name__} has no parameter {name!r}; {suggest(name, self.parameters())}"
            )

    @classmethod
    def _say_lost(cls, name: str) -> None:
        # Python shows a DeprecationWarning once per line of the user's script
        warnings.warn(
            f"{cls.__name__}.{name} does nothing here: {cls.lost[name]}",
            DeprecationWarning,
            stacklevel=3,
        )

    @classmethod
    def parameters(cls) -> list[str]:
        """Return the names of the parameters that can be set."""
        names = [n for n in _fields(cls) if not n.startswith("_")]
        for klass in cls.__mro__:
            for name, value in vars(klass).items():
                settable = isinstance(value, property) and value.fset is not None
                if settable and not name.startswith("_") and name not in names:
                    names.append(name)
        return names

    def bind(self, owner: object | None) -> Self:
        """Remember, weakly, the analyzer that this component belongs to."""
        object.__setattr__(self, "_owner_ref", None if owner is None else weakref.ref(owner))
        return self

    @property
    def owner(self) -> Any:
        """The analyzer that this component was attached to, or None."""
        ref = self.__dict__.get("_owner_ref")
        return None if ref is None else ref()

    def become(self, other: Component) -> Component:
        """Let another component take this one's place in the analyzer, and return it."""
        owner = self.owner
        if owner is not None:
            owner.replace_component(self, other)
        return other

    @property
    def initialized(self) -> bool:
        """Whether a component was chosen."""
        return True

    @property
    def mpl(self) -> Any:
        """Plots about this component of an analyzer."""
        if self.owner is None:
            raise UnknownAttributeError(
                f"{type(self).__name__} belongs to no analyzer: use tramway_dask.plot"
            )
        return self.owner.plots_of(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the type and parameters, as plain values fit for JSON and for hashing."""
        state = {n: canonical(getattr(self, n)) for n in _fields(type(self)) if not n.startswith("_")}
        return {"type": type(self).__name__, **state}

    def fingerprint(self) -> str:
        """Return a digest of the type and parameters."""
        return fingerprint(self)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some parameters changed."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]

    def __eq__(self, other: object) -> bool:
        return (
            type(self) is type(other) and isinstance(other, Component) and self.to_dict() == other.to_dict()
        )

    def __hash__(self) -> int:
        return hash(self.fingerprint())

    def chosen(self) -> dict[str, Any]:
        """Return the parameters that differ from their defaults."""
        shown = {}
        for name, field in _fields(type(self)).items():
            value = getattr(self, name)
            if field.default is not dataclasses.MISSING and value is field.default:
                continue
            if field.default_factory is not dataclasses.MISSING and value == field.default_factory():
                continue
            if not name.startswith("_"):
                shown[name] = value
        return shown

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.chosen().items())
        return f"{type(self).__name__}({shown})"

    @guarded
    def _repr_html_(self) -> str:
        about, _, _ = (inspect.getdoc(type(self)) or "").partition("\n")
        return card(type(self).__name__, *self._card_parts(), about=about)

    def _card_parts(self) -> list[Any]:
        """Return what a notebook shows of the parameters."""
        chosen = self.chosen()
        rest = {n: getattr(self, n) for n in _fields(type(self)) if n not in chosen and not n.startswith("_")}
        told = rows((name, repr(value)) for name, value in chosen.items())
        defaults = rows((name, repr(value)) for name, value in rest.items())
        return [
            told or ("all parameters have their defaults" if rest else "it has no parameters"),
            folded(f"{len(rest)} defaults" if len(rest) > 1 else "1 default", defaults),
        ]

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_owner_ref"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def _fields(cls: type) -> dict[str, dataclasses.Field[Any]]:
    # without class variables such as `lost`: what a class says of itself is no parameter
    return {f.name: f for f in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else {}


def canonical(value: Any) -> Any:
    """Turn a value into plain JSON types that are equal exactly when the values are.

    Arrays and tables become digests of their content; functions become digests of
    their code, defaults and closures, so that an edited function counts as changed.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | np.floating):
        return float(value)
    if isinstance(value, np.integer | np.bool_):
        return value.item()
    if isinstance(value, Component):
        return value.to_dict()
    if not isinstance(value, type) and callable(getattr(value, "fingerprint", None)):
        return {"object": type(value).__qualname__, "content": value.fingerprint()}
    if isinstance(value, Mapping):
        return {str(k): canonical(value[k]) for k in sorted(value, key=str)}
    if isinstance(value, np.ndarray) and value.size <= 64 and value.dtype.kind in "bif":
        return canonical(value.tolist())
    if isinstance(value, np.ndarray):
        return {"array": _digest(str(value.dtype), str(value.shape), np.ascontiguousarray(value).tobytes())}
    if isinstance(value, pd.DataFrame | pd.Series):
        hashed = pd.util.hash_pandas_object(value, index=False).to_numpy()
        columns = [str(value.name)] if isinstance(value, pd.Series) else list(map(str, value.columns))
        return {"table": _digest(json.dumps(columns), hashed.tobytes())}
    if isinstance(value, set | frozenset):
        return sorted((canonical(v) for v in value), key=json.dumps)
    if isinstance(value, Iterable) and not isinstance(value, type):
        return [canonical(v) for v in value]
    if isinstance(value, types.FunctionType):
        return {"function": value.__qualname__, "code": _digest(*_code_parts(value))}
    if isinstance(value, type) or callable(value):
        name = (
            f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"
        )
        state = getattr(value, "__dict__", None) if not isinstance(value, type) else None
        return {"callable": name, "state": canonical(dict(state)) if state else None}
    return {"object": type(value).__qualname__, "repr": repr(value)}


def _code_parts(
    function: types.FunctionType, seen: frozenset[types.FunctionType] = frozenset()
) -> Iterable[bytes | str]:
    seen = seen | {function}
    yield from _code_object_parts(function.__code__)
    for name in sorted(_names(function.__code__)):
        used = function.__globals__.get(name)
        if isinstance(used, types.FunctionType):
            if used.__module__ == function.__module__ and used not in seen:
                yield name
                yield from _code_parts(used, seen)
        elif isinstance(used, bool | int | float | str):
            yield f"{name}={used!r}"
    yield json.dumps(canonical(function.__defaults__), sort_keys=True)
    yield json.dumps(canonical(function.__kwdefaults__), sort_keys=True)
    for cell in function.__closure__ or ():
        try:
            content = cell.cell_contents
        except ValueError:  # a name that is not yet bound
            continue
        if content is not function:
            yield json.dumps(canonical(content), sort_keys=True)


def _names(code: types.CodeType) -> set[str]:
    nested = (c for c in code.co_consts if isinstance(c, types.CodeType))
    return set(code.co_names).union(*map(_names, nested))


def _code_object_parts(code: types.CodeType) -> Iterable[bytes | str]:
    yield code.co_code
    yield json.dumps([code.co_names, code.co_varnames])
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _code_object_parts(const)
        else:
            yield repr(const)


def _digest(*parts: bytes | str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:32]


def fingerprint(value: Any) -> str:
    """Return a digest that changes when, and only when, the content of `value` changes.

    Examples
    --------
    >>> fingerprint({"a": 1, "b": 2.0}) == fingerprint({"b": 2.0, "a": 1})
    True
    """
    return _digest(json.dumps(canonical(value), sort_keys=True))
