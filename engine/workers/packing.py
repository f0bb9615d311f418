"""A stage's settings and an attempt's result as plain values that travel between processes.

A stage's own exception may not survive pickling, and the reading process may not know its class. So
only the engine's ending and its attributes travel. Settings travel with their secrets, so they
belong into a pipe only.
"""

import io
import pickle
from typing import Any, TypeVar

from pydantic import BaseModel

import engine.contract.errors
from engine.contract.errors import Ending, PenstockError, StopRun
from engine.telemetry.processor_time import ProcessorTime
from engine.workers.result import Result, result_of

Model = TypeVar("Model", bound=BaseModel)

Packed = tuple[str, Any, ProcessorTime | None]
"""The kind ("done", "ending", "stop", "produced", "list"), its values, and the processor time. The
value of "done" is the number of parts, None where the item was not split."""


def pack(result: Result) -> Packed:
    """`result`, which must hold no produced items, as plain values."""
    if result.stop is not None:
        return "stop", str(result.stop), result.processor
    if result.ending is not None:
        return "ending", pack_ending(result.ending), result.processor
    return "done", result.parts, result.processor


def unpack(packed: Packed) -> Result:
    """The result from which `pack` made `packed`."""
    word, value, processor = packed
    if word == "stop":
        return Result(stop=StopRun(value), processor=processor)
    if word == "produced":
        return Result(produced=value, processor=processor)
    if word == "done":
        return Result(parts=value, processor=processor)
    return Result(ending=unpack_ending(value), processor=processor)


PackedEnding = tuple[str, dict[str, Any]]
"""The name of the ending's class in the engine, and its attributes."""


def pack_ending(ending: Ending) -> PackedEnding:
    state = {key: value for key, value in vars(ending).items() if _is_plain(value)}
    return _known(ending), state


def unpack_ending(packed: PackedEnding) -> Ending:
    name, state = packed
    ending: Ending = Ending.__new__(getattr(engine.contract.errors, name), state["reason"])
    Exception.__init__(ending, state["reason"])
    vars(ending).update(state)
    return ending


PackedError = tuple[str, Any]
"""The kind of an exception of the run's ("os", "stop", "ending"), and its values."""


def pack_error(error: Exception) -> PackedError:
    """An exception of the run's, to be raised in a stage's code. One that is no OSError and that no
    stage may raise arrives as the Fault that it would be."""
    if isinstance(error, OSError):
        return "os", (error.errno, error.strerror, error.filename)
    result = result_of(error)
    if result.ending is None:
        return "stop", str(result.stop)
    return "ending", pack_ending(result.ending)


def unpack_error(packed: PackedError) -> Exception:
    word, value = packed
    if word == "os":
        return OSError(*value)
    return StopRun(value) if word == "stop" else unpack_ending(value)


def pack_refusal(error: PenstockError) -> tuple[str, str]:
    """The reason why a stage could not open: the name of the error's class
    in the engine, its text."""
    return _known(error), str(error)


def unpack_refusal(packed: tuple[str, str]) -> PenstockError:
    name, text = packed
    refusal: PenstockError = getattr(engine.contract.errors, name)(text)
    return refusal


def _known(error: PenstockError) -> str:
    return next(
        kind for kind in type(error).__mro__ if kind.__module__ == "engine.contract.errors"
    ).__name__


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float))


def pack_settings(settings: BaseModel) -> bytes:
    """Every field of the settings, including secrets and fields excluded from dumps."""
    return pickle.dumps(_plain(settings))


def unpack_settings(kind: type[Model], packed: bytes) -> Model:
    """The settings, of the class `kind`, from which `pack_settings` made `packed`. Raises what its
    validators raise, and ImportError or AttributeError where the class of a value is not found."""
    return kind.model_validate(_Unpickler(io.BytesIO(packed), kind.__module__).load())


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {_key(type(value), name): _plain(one) for name, one in value}
    if type(value) is dict:
        return {key: _plain(one) for key, one in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_plain, value))
    return value


def _key(kind: type[BaseModel], name: str) -> str:
    """The key by which a field is validated: its alias or its name."""
    field = kind.model_fields.get(name)
    return field.validation_alias if field and isinstance(field.validation_alias, str) else name


class _Unpickler(pickle.Unpickler):
    """Finds the classes of the parent's `__main__` script in the module that the script is here."""

    def __init__(self, file: io.BytesIO, script: str) -> None:
        super().__init__(file)
        self._script = script

    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(self._script if module == "__main__" else module, name)
