"""Made-up phones of a Spanish company, the same for the same seed."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final
from uuid import UUID

import attrs

AS_OF: Final = datetime(2026, 7, 22, 9, tzinfo=UTC)
"""The moment that dates are relative to; fixed, so that every run has the same data."""

PREFIXES_BY_REGION: Final = {
    "ES-AN": "950 951 953 954 955 957 958 959",
    "ES-AR": "974 976 978",
    "ES-AS": "984 985",
    "ES-CB": "942",
    "ES-CL": "920 921 923 947 975 979 980 983 987",
    "ES-CM": "925 926 949 967 969",
    "ES-CN": "922 928",
    "ES-CT": "93 972 973 977",
    "ES-EX": "924 927",
    "ES-GA": "981 982 986 988",
    "ES-IB": "971",
    "ES-MC": "968",
    "ES-MD": "91",
    "ES-NC": "948",
    "ES-PV": "943 944 945 946",
    "ES-RI": "941",
    "ES-VC": "960 961 962 963 964 965 966",
}
"""Landline prefixes of one region each, by ISO 3166-2 code."""

LANDLINE_REGIONS: Final = {
    prefix: (region,)
    for region, prefixes in PREFIXES_BY_REGION.items()
    for prefix in prefixes.split()
} | {
    "952": ("ES-AN", "ES-ML"),  # Málaga and Melilla
    "956": ("ES-AN", "ES-CE"),  # Cádiz and Ceuta
}
"""The regions of each landline prefix; a shared prefix has two."""

_NO_REGION: Final = ("6", "6", "6", "71", "72", "900")  # mobiles; 900 is freephone
_DIGITS: Final = 9

_KINDS: Final = {
    ("assigned", "netelip"): 48,
    ("assigned", "custom"): 20,
    ("reserved", "netelip"): 8,
    ("pending_verification", "netelip"): 6,
    ("released", "netelip"): 8,
    ("released", "custom"): 2,
    ("finished", "netelip"): 8,
}

FIELDS: Final = (
    "id",
    "nickname",
    "number",
    "telephony_provider",
    "status",
    "released_at",
    "scheduled_release_at",
    "assigned_at",
    "inbound_agent_id",
    "outbound_agent_id",
    "sip_config",
    "checkout_url",
    "reservation_expires_at",
    "region_codes",
)
"""The fields of a phone, in the order of the published answer."""

SORTABLE: Final = tuple(
    field for field in FIELDS if field not in {"sip_config", "region_codes"}
)
"""The fields whose values have an order."""

_BLANK: Final[dict[str, Any]] = dict.fromkeys(FIELDS)

_DESKS: Final = (
    "Recepción",
    "Atención al cliente",
    "Citas",
    "Urgencias",
    "Ventas",
    "Cobros",
)
_TOWNS: Final = ("Sevilla", "Gijón", "Cádiz", "A Coruña", "Logroño", "Eivissa")
_ENCRYPTIONS: Final = ("disable", "allow", "require")
_ADDRESSES: Final = (None, ["203.0.113.10"], ["198.51.100.0/24", "203.0.113.64/28"])


def make_key(seed: int) -> str:
    """
    Make the API key of a seed.

    >>> len(make_key(0)), make_key(0) == make_key(0), make_key(0) == make_key(1)
    (67, True, False)
    """
    return "sk-" + _chance("key", seed).randbytes(32).hex()


def as_json(fields: dict[str, Any]) -> dict[str, Any]:
    """
    Return a copy of *fields* in JSON's types, UUIDs and dates as the API writes them.

    >>> as_json({"assigned_at": datetime(2026, 7, 1, tzinfo=UTC)})
    {'assigned_at': '2026-07-01T00:00:00Z'}

    Raises:
        TypeError: A value cannot be written as JSON.
    """
    copied: dict[str, Any] = json.loads(json.dumps(fields, default=_text))
    return copied


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return _written(value)
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"A {type(value).__name__} cannot be written as JSON.")


@attrs.define
class PhoneMaker:
    """
    Makes the phones of a seed, one after the other.

    The first seven show every status with each of its providers.

    >>> maker, twin = PhoneMaker(0), PhoneMaker(0)
    >>> [maker.make() == twin.make() for _ in range(3)]
    [True, True, True]
    >>> maker.make(status="released")["status"]
    'released'
    """

    seed: int
    _made: int = attrs.field(default=0, init=False)
    _chance: Random = attrs.field(init=False)
    _agents: tuple[str, ...] = attrs.field(init=False)

    @_chance.default
    def _make_chance(self) -> Random:
        return _chance("phones", self.seed)

    @_agents.default
    def _make_agents(self) -> tuple[str, ...]:
        return tuple(str(_uuid(self._chance)) for _ in range(8))

    def make(
        self, status: str | None = None, provider: str | None = None
    ) -> dict[str, Any]:
        """Make the next phone as a JSON object, of this status and provider if any."""
        phone_id = _uuid(self._chance)
        drawn = _kind(self._made, self._chance)
        self._made += 1
        kinds = [
            kind
            for kind in (drawn, *_KINDS)
            if status in (None, kind[0]) and provider in (None, kind[1])
        ]
        kind = kinds[0] if kinds else drawn
        return _make_phone(phone_id, kind, self._agents, self._chance)


def _chance(purpose: str, seed: int) -> Random:
    return Random(f"{purpose} {seed}")  # noqa: S311 - repeatable on purpose


def _uuid(chance: Random) -> UUID:
    return UUID(int=chance.getrandbits(128), version=4)


def _kind(index: int, chance: Random) -> tuple[str, str]:
    kinds = tuple(_KINDS)
    if index < len(kinds):
        return kinds[index]
    return chance.choices(kinds, tuple(_KINDS.values()))[0]


def _make_phone(
    phone_id: UUID, kind: tuple[str, str], agents: tuple[str, ...], chance: Random
) -> dict[str, Any]:
    status, provider = kind
    phone = _BLANK | {
        "id": str(phone_id),
        "nickname": _nickname(chance),
        "telephony_provider": provider,
        "status": status,
    }
    phone |= _custom(chance) if provider == "custom" else _spanish_number(chance)
    phone |= _DATES[status](chance)
    if status == "assigned":
        phone |= _answered_by(agents, chance)
    return phone


def _nickname(chance: Random) -> str | None:
    if chance.random() < 0.2:  # noqa: PLR2004 - one phone in five has none
        return None
    return f"{chance.choice(_DESKS)} {chance.choice(_TOWNS)}"


def _spanish_number(chance: Random) -> dict[str, Any]:
    landline = chance.choice(tuple(LANDLINE_REGIONS))
    prefix = chance.choice((landline, landline, chance.choice(_NO_REGION)))
    length = _DIGITS - len(prefix)
    return {
        "number": f"+34{prefix}{chance.randrange(10**length):0{length}d}",
        "region_codes": list(LANDLINE_REGIONS.get(prefix, ())),
    }


def _custom(chance: Random) -> dict[str, Any]:
    sip_config = {"sip_config": _sip_config(chance)}
    if chance.choice((True, False)):
        return _spanish_number(chance) | sip_config
    number = f"sip:centralita-{chance.randrange(100, 1000)}@pbx.empresa.example"
    return {"number": number, "region_codes": []} | sip_config


def _sip_config(chance: Random) -> dict[str, Any]:
    host = f"sip{chance.randrange(1, 10)}.operador.example"
    username = f"troncal-{chance.randrange(1000, 10000)}"
    addresses = chance.choice(_ADDRESSES)
    return {
        "termination_uri": chance.choice((host, host, None)),
        "username": chance.choice((username, username, None)),
        "inbound_media_encryption": chance.choice(_ENCRYPTIONS),
        "outbound_media_encryption": chance.choice(_ENCRYPTIONS),
        "allowed_addresses": None if addresses is None else list(addresses),
    }


def _answered_by(agents: tuple[str, ...], chance: Random) -> dict[str, Any]:
    choices = (*agents, None)
    return {
        "inbound_agent_id": chance.choice(choices),
        "outbound_agent_id": chance.choice(choices),
    }


def _reserved(chance: Random) -> dict[str, Any]:
    expires = AS_OF + _days(chance, 0, 1 / 48)
    return {
        "checkout_url": f"https://checkout.example/pay/{chance.getrandbits(64):016x}",
        "reservation_expires_at": _written(expires),
    }


def _pending(_: Random) -> dict[str, Any]:
    return {}


def _assigned(chance: Random) -> dict[str, Any]:
    assigned_at = AS_OF - _days(chance, 0, 900)
    leaves_at = AS_OF + _days(chance, 0, 30)
    return {
        "assigned_at": _written(assigned_at),
        "scheduled_release_at": chance.choice((_written(leaves_at), None, None, None)),
    }


def _released(chance: Random) -> dict[str, Any]:
    # A released number rests for 30 days, and is finished when they are over.
    return _left(AS_OF - _days(chance, 0, 30), chance)


def _finished(chance: Random) -> dict[str, Any]:
    return _left(AS_OF - _days(chance, 30, 400), chance)


_DATES: Final[dict[str, Callable[[Random], dict[str, Any]]]] = {
    "reserved": _reserved,
    "pending_verification": _pending,
    "assigned": _assigned,
    "released": _released,
    "finished": _finished,
}


def _left(released_at: datetime, chance: Random) -> dict[str, Any]:
    return {
        "released_at": _written(released_at),
        "assigned_at": _written(released_at - _days(chance, 1, 700)),
    }


def _days(chance: Random, least: float, most: float) -> timedelta:
    return timedelta(days=chance.uniform(least, most))


def _written(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
