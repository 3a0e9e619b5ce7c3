"""The baseline: the record's calls as one would write them by hand, with FastAPI and SQLAlchemy's ORM.

It keeps the contract where the benchmark asks for it: tokens are checked, roles are resolved at the read, steps are
filtered by them, ETags and If-Match hold. It writes no journal, and knows neither catalogs nor signals.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import jsonpatch
import jwt
from fastapi import Depends, FastAPI, Header, HTTPException, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from sqlalchemy import JSON, String, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

ADMIN = "org-admin"
KEY = Path(os.environ["PUBLIC_KEY_FILE"]).read_text()
engine = create_async_engine(os.environ["DATABASE_URL"], pool_size=20, max_overflow=20)
sessions = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    pass


class Membership(Base):
    __tablename__ = "memberships"
    user_id: Mapped[str] = mapped_column(String, primary_key=True)
    org_id: Mapped[str] = mapped_column(String, primary_key=True)
    role: Mapped[str] = mapped_column(String, primary_key=True)


class Record(Base):
    __tablename__ = "records"
    user_id: Mapped[str] = mapped_column(String, primary_key=True)
    org_id: Mapped[str] = mapped_column(String, primary_key=True)
    body: Mapped[dict[str, Any]] = mapped_column(JSON().with_variant(JSONB, "postgresql"))
    version: Mapped[int]


class Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")


class Status(StrEnum):
    UP_NEXT = "UP_NEXT"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    SKIPPED = "SKIPPED"


class Step(Model):
    step_id: str = Field(min_length=1, max_length=255)
    title: str
    description: str
    cta_label: str
    cta_route: str
    status: Status
    sort_order: int
    completed_at: datetime | None = None
    completed_by: str | None = None
    source_roles: list[str] | None = None


class Checklist(Model):
    track: str = Field(pattern="^[AB]$")
    roles: list[str] = []
    product_interests: list[str] = []
    steps: list[Step] = []
    computed_at: datetime
    completed_at: datetime | None = None
    dismissed_at: datetime | None = None


class FirstLogin(Model):
    role_identification: str | None = None
    delegation_flow_completed: bool | None = None
    is_returning_user: bool | None = None
    stepper_completed_at: datetime | None = None


class Properties(Model):
    user_id: str
    guided_checklist: Checklist | None = None
    first_login_state: FirstLogin | None = None
    attributes: dict[str, Any] | None = None
    created_date: datetime
    modified_date: datetime


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


async def new_session() -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session


def caller(authorization: Annotated[str, Header()]) -> str:
    try:
        claims = jwt.decode(authorization.removeprefix("Bearer "), KEY, algorithms=["EdDSA"])
    except jwt.PyJWTError:
        raise HTTPException(401, "invalid token") from None
    return str(claims["sub"])


Session = Annotated[AsyncSession, Depends(new_session)]
Caller = Annotated[str, Depends(caller)]


async def authorize(session: AsyncSession, who: str, user_id: str, org_id: str) -> None:
    """A user's own record, or that of a member of an organization whose admin asks."""
    if who == user_id:
        return
    roles = await roles_of(session, who, org_id)
    if ADMIN not in roles or not await roles_of(session, user_id, org_id):
        raise HTTPException(403, "not allowed")


async def roles_of(session: AsyncSession, user_id: str, org_id: str) -> list[str]:
    wanted = select(Membership.role).where(Membership.user_id == user_id, Membership.org_id == org_id)
    return sorted((await session.scalars(wanted)).all())


def tag_of(record: Record, roles: list[str]) -> str:
    return f'"{record.version}-{"-".join(roles)}"'


async def answer(session: AsyncSession, record: Record) -> Response:
    """The record with the roles held now and the steps that they see."""
    roles = await roles_of(session, record.user_id, record.org_id)
    properties = Properties.model_validate(record.body)
    if properties.guided_checklist is not None:
        shown = properties.guided_checklist
        shown.roles = roles
        shown.steps = [one for one in shown.steps if not one.source_roles or set(one.source_roles) & set(roles)]
    content = properties.model_dump(mode="json", by_alias=True, exclude_none=True)
    return JSONResponse(content, headers={"ETag": tag_of(record, roles)})


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/api/usermanagement/v1/users/{user_id}/properties")
async def get_properties(
    user_id: str,
    orgId: str,  # noqa: N803 - the query's name
    session: Session,
    who: Caller,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    await authorize(session, who, user_id, orgId)
    record = await session.get(Record, (user_id, orgId))
    if record is None:
        raise HTTPException(404, "no such record")
    if if_none_match is not None:
        tag = tag_of(record, await roles_of(session, user_id, orgId))
        if tag == if_none_match:
            return Response(status_code=304, headers={"ETag": tag})
    return await answer(session, record)


@app.put("/api/usermanagement/v1/users/{user_id}/properties")
async def put_properties(
    user_id: str,
    orgId: str,  # noqa: N803 - the query's name
    properties: Properties,
    session: Session,
    who: Caller,
    if_match: Annotated[str | None, Header()] = None,
) -> Response:
    if properties.user_id != user_id:
        raise HTTPException(400, "userId differs from the path's")
    await authorize(session, who, user_id, orgId)
    record = await session.get(Record, (user_id, orgId), with_for_update=True)
    await require_match(session, record, if_match)
    properties.modified_date = datetime.now(UTC)
    body = properties.model_dump(mode="json", by_alias=True, exclude_none=True)
    if record is None:
        record = Record(user_id=user_id, org_id=orgId, body=body, version=1)
        session.add(record)
    else:
        record.body = body | {"createdDate": record.body["createdDate"]}
        record.version += 1
    await session.commit()
    return await answer(session, record)


@app.patch("/api/usermanagement/v1/users/{user_id}/properties/guided-checklist")
async def patch_checklist(
    user_id: str,
    orgId: str,  # noqa: N803 - the query's name
    operations: list[dict[str, Any]],
    session: Session,
    who: Caller,
    if_match: Annotated[str | None, Header()] = None,
) -> Response:
    await authorize(session, who, user_id, orgId)
    record = await session.get(Record, (user_id, orgId), with_for_update=True)
    if record is None:
        raise HTTPException(404, "no such record")
    await require_match(session, record, if_match)
    try:
        patched = jsonpatch.apply_patch(record.body["guidedChecklist"], operations)
    except jsonpatch.JsonPatchException as error:
        raise HTTPException(409, str(error)) from None
    checklist = Checklist.model_validate(patched)
    record.body = record.body | {
        "guidedChecklist": checklist.model_dump(mode="json", by_alias=True, exclude_none=True),
        "modifiedDate": datetime.now(UTC).isoformat(),
    }
    record.version += 1
    await session.commit()
    return await answer(session, record)


async def require_match(session: AsyncSession, record: Record | None, if_match: str | None) -> None:
    if if_match is None or (if_match == "*" and record is not None):
        return
    if record is None or tag_of(record, await roles_of(session, record.user_id, record.org_id)) != if_match:
        raise HTTPException(412, "the record has changed")
