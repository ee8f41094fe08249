"""Which arguments a model was built with: those of the constructor that the caller called."""

from types import FrameType


def outermost_constructor(frame: FrameType | None) -> FrameType | None:
    """Frame of the `__init__` that the caller called: with its arguments, and no others, the model is built again.

    Lightning would add those that a variant's constructor chooses itself and hands on to its parent's.
    """
    assert frame is not None
    while (outer := frame.f_back) is not None and "__class__" in outer.f_locals:
        if outer.f_code.co_name != "__init__" or outer.f_locals.get("self") is not frame.f_locals["self"]:
            break
        frame = outer
    return frame
