"""A Griffe extension: the fields of a named tuple are its parameters, so that its docstring may explain them."""

from typing import Any

from griffe import Class, Extension, Function, Parameter, ParameterKind, Parameters

_SELF = ParameterKind("positional-only")
_FIELD = ParameterKind("positional or keyword")


class NamedTuples(Extension):
    """Gives each named tuple the constructor that Python gives it."""

    def on_class_members(self, *, cls: Class, **kwargs: Any) -> None:
        """Add `__init__` to a class that derives from NamedTuple."""
        if "NamedTuple" not in map(str, cls.bases):
            return
        fields = [field for field in cls.attributes.values() if field.annotation is not None]
        parameters = [
            Parameter(field.name, annotation=field.annotation, default=field.value, kind=_FIELD) for field in fields
        ]
        own = Parameter("self", kind=_SELF)
        cls.set_member("__init__", Function("__init__", parameters=Parameters(own, *parameters), lineno=cls.lineno))
