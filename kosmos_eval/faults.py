"""What a model gets wrong: tried again, then told as the failure of a sample. Never the end of a run, never a zero."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from kosmos_eval.disk import hide_home
from kosmos_eval.errors import KosmosEvalError, ModelError
from kosmos_eval.models.base import Model
from kosmos_eval.record import finite
from kosmos_eval.request import Request, Response

OnError = Literal["record", "stop"]
"""What a failed sample means for a run: it is recorded and counted, or the run stops."""

ATTEMPTS = 2
GIVE_UP = 8
"""So many requests of a unit that fail one after the other, and none that does not: it is the model, not a sample."""


def ask_all(model: Model, requests: Sequence[Request]) -> Iterator[tuple[int, Response]]:
    """Every request's place and response. Requests are asked together; what fails or is cut short by an exception is
    asked once more, and what raises again is asked alone, so that one bad sample costs no other.

    Raises ModelError where nothing can be answered, and whatever KosmosEvalError the model raises.
    """
    left = list(range(len(requests)))
    failed: dict[int, Response] = {}
    fault = ""
    for _ in range(ATTEMPTS):
        order, fault = left, ""
        answered: set[int] = set()
        try:
            for place, response in model.run(iter([requests[i] for i in order])):
                i = order[place]
                answered.add(i)
                own = _own(response, requests[i])
                if _is_failure(own):
                    failed[i] = own
                else:
                    failed.pop(i, None)
                    yield i, own
            if len(answered) < len(order):
                fault = f"model {model.name!r} answered {len(answered)} of {len(order)} requests"
        except KosmosEvalError:
            raise
        except Exception as error:  # whatever a device or a library throws
            fault = _reason(error)  # not the exception: its frames hold the tensors that did not fit
        left = [i for i in order if i not in answered or i in failed]
        if not left:
            return
    yield from ((i, failed[i]) for i in left if i in failed)
    alone = [i for i in left if i not in failed]
    yield from _ask_alone(model, requests, alone, fault, hopeless=len(alone) == len(requests))


def _ask_alone(
    model: Model, requests: Sequence[Request], places: Sequence[int], fault: str, hopeless: bool
) -> Iterator[tuple[int, Response]]:
    """Each request by itself. `hopeless`: none of the unit was answered so far."""
    broken: list[tuple[int, Response]] = []
    for i in places:
        try:
            own = [_own(response, requests[i]) for _, response in model.run(iter([requests[i]]))]
            found = own[0] if own else Response(requests[i].id, error=fault)
            hopeless = False
        except KosmosEvalError:
            raise
        except Exception as error:
            fault = _reason(error)
            found = Response(requests[i].id, error=fault)
        if not hopeless:
            yield from broken
            broken = []
            yield i, found
        else:
            broken.append((i, found))
            if len(requests) > 1 and (len(broken) == GIVE_UP or len(broken) == len(places)):
                raise ModelError(
                    f"model {model.name!r} fails at whatever it is asked ({fault}); what was committed is kept: see to "
                    "the device, then give the same command again"
                )
    yield from broken


def _own(response: Response, request: Request) -> Response:
    """The response under the id that was asked, its log-probabilities checked, no home folder in its error."""
    own = finite(response if response.id == request.id else replace(response, id=request.id))
    return own if own.error is None else replace(own, error=hide_home(own.error))


def _is_failure(response: Response) -> bool:
    """Whether asking again may help; it does not help a request that does not fit."""
    return response.error is not None and response.fits


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
