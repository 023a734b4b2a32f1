"""Deliveries by destination: what waits, what was refused and why; retry and drop."""

from starlette.exceptions import HTTPException
from starlette.responses import Response

from console.visit import Visit
from core.errors import Rejected
from core.states import DeliveryState
from records.deliveries import drop_delivery, list_deliveries, retry_delivery
from records.destinations import list_destinations, pause_destination, resume_destination
from records.figures import find_node_figures

_LONGEST_WHY = 300


def show(visit: Visit) -> Response:
    """Every destination, and the deliveries in the state that is asked for."""
    state, destination = visit.given("state"), visit.given("destination")
    wanted = DeliveryState(state) if state in set(DeliveryState) else None
    figures = find_node_figures(visit.database, list(visit.settings.destinations))
    return visit.page(
        "deliveries.html",
        title="Deliveries",
        destinations=figures.destinations,
        configured=visit.settings.destinations,
        rows=list_deliveries(visit.database, wanted, destination or None, limit=200),
        states=list(DeliveryState),
        given={"state": state, "destination": destination},
    )


def retry(visit: Visit) -> Response:
    """Try a refused or given-up delivery again."""
    if not retry_delivery(visit.database, _delivery_id(visit), visit.person.name):
        raise Rejected("this delivery was accepted already, or its file was deleted since")
    return visit.back_to(_back(visit))


def drop(visit: Visit) -> Response:
    """Give a delivery up, with a reason."""
    why = visit.form.get("why", "").replace("\0", "").strip()[:_LONGEST_WHY]
    if not why:
        raise Rejected("say why the delivery is given up; the reason is kept in the trail")
    if not drop_delivery(visit.database, _delivery_id(visit), visit.person.name, why):
        raise Rejected("the delivery has left or ended by now and cannot be given up")
    return visit.back_to(_back(visit))


def pause(visit: Visit) -> Response:
    """Stop sending to a destination, with a reason; deliveries wait."""
    why = visit.form.get("why", "").replace("\0", "").strip()[:_LONGEST_WHY]
    if not why:
        raise Rejected("say why nothing is to be sent there; the reason is kept in the trail")
    if not pause_destination(visit.database, _destination(visit), visit.person.name, why):
        raise Rejected("the destination is paused already")
    return visit.back_to("/deliveries")


def resume(visit: Visit) -> Response:
    """Send to a destination again."""
    if not resume_destination(visit.database, _destination(visit), visit.person.name):
        raise Rejected("the destination is not paused")
    return visit.back_to("/deliveries")


def _destination(visit: Visit) -> str:
    name = str(visit.request.path_params["name"])
    if name not in {one.name for one in list_destinations(visit.database, visit.settings.destinations)}:
        raise HTTPException(404, "There is no such destination.")
    return name


def _delivery_id(visit: Visit) -> int:
    number = int(visit.request.path_params["delivery_id"])
    if number >= 1 << 31:
        raise HTTPException(404, "There is no such delivery.")
    return number


def _back(visit: Visit) -> str:
    state = visit.form.get("state", "")
    return f"/deliveries?state={state}" if state in set(DeliveryState) else "/deliveries"
