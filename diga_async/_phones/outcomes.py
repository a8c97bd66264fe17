"""`PhoneOutcomes`: what the items and the results of a run by ids are."""

from diga_async._api.operation import Answer, Operation
from diga_async._api.phones import get_phone, phone_id_of
from diga_async._engine.call import Call
from diga_async._models.errors import DigaError, NotFoundError
from diga_async._models.outcomes import Failed, Missing, Outcome, found
from diga_async._models.phone import Phone


class PhoneOutcomes:
    """The items of a run are phone ids, and its results are outcomes."""

    def operation_of(self, item: object) -> Operation[Phone]:
        return get_phone(phone_id_of(item))

    def result_of(
        self, call: Call[Phone], answer: Answer[Phone], now: float
    ) -> Outcome:
        phone_id, elapsed = call.operation.subject, call.elapsed(now)
        assert phone_id is not None  # noqa: S101 - it is a phone's operation
        match answer:
            case Phone():
                return found(phone_id, answer, call.attempts, elapsed, call.request_id)
            case NotFoundError():
                return Missing(phone_id, call.attempts, elapsed)
            case error:
                return Failed(phone_id, error, call.attempts, elapsed)

    def rejection_of(self, name: str, error: DigaError) -> Outcome:
        return Failed(name, error, 0, 0.0)
