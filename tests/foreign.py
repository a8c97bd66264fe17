"""
The published schema, as a FastAPI service would produce it.

    python tests/foreign.py FILE     writes the OpenAPI document of the one operation
"""

import json
import sys
from datetime import datetime
from enum import Enum
from pathlib import Path
from uuid import UUID

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict


class TelephonyProvider(Enum):
    NETELIP = "netelip"
    CUSTOM = "custom"


class PhoneRegisterStatus(Enum):
    RESERVED = "reserved"
    PENDING_VERIFICATION = "pending_verification"
    ASSIGNED = "assigned"
    RELEASED = "released"
    FINISHED = "finished"


class SipMediaEncryption(Enum):
    DISABLE = "disable"
    ALLOW = "allow"
    REQUIRE = "require"


class SipConfigResponseSchema(BaseModel):
    model_config = ConfigDict(strict=True)

    termination_uri: str | None = None
    username: str | None = None
    inbound_media_encryption: SipMediaEncryption = SipMediaEncryption.ALLOW
    outbound_media_encryption: SipMediaEncryption = SipMediaEncryption.ALLOW
    allowed_addresses: list[str] | None = None


class PhoneRegisterResponseSchema(BaseModel):
    model_config = ConfigDict(strict=True)

    id: UUID
    nickname: str | None = None
    number: str
    telephony_provider: TelephonyProvider
    status: PhoneRegisterStatus
    released_at: datetime | None = None
    scheduled_release_at: datetime | None = None
    assigned_at: datetime | None = None
    inbound_agent_id: UUID | None = None
    outbound_agent_id: UUID | None = None
    sip_config: SipConfigResponseSchema | None = None
    checkout_url: str | None = None
    reservation_expires_at: datetime | None = None
    region_codes: list[str] = []


class PaginatedResponse(BaseModel):
    model_config = ConfigDict(strict=True)

    data: list[PhoneRegisterResponseSchema]
    first_id: UUID | None = None
    last_id: UUID | None = None
    has_more: bool
    current_page: int | None = None
    total_pages: int | None = None


def published():
    """Return the OpenAPI document of a service that has this one operation."""
    service = FastAPI(title="Phones", version="1")

    key = [Depends(HTTPBearer())]

    @service.get("/v1/phone/{phone_id}", dependencies=key, operation_id="get_phone")
    async def get_phone(phone_id: UUID) -> PhoneRegisterResponseSchema:
        raise HTTPException(404)

    return service.openapi()


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(published()))
