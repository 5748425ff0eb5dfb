"""What a callback shows, as typed values: ``event.signature_request``, ``.template``, ``.account``, ``.fax``.

Field names are the vendor's. ``event_hash`` does not sign a body, and the vendor adds fields, types and states: nothing here
raises, whatever the JSON is. What is missing, null or of another type is ``None`` or empty. A field that this version does
not know is an attribute as well (``model_extra``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, PlainValidator, model_validator

from deedbox.shared.core.request_snapshot import flag_of, time_of


def _text(value: object) -> str | None:
    # Half characters become "?": no database and no page takes one.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _object(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _texts(value: object) -> tuple[str, ...]:
    found = map(_text, value if isinstance(value, list) else [])
    return tuple(each for each in found if each is not None)


def _objects(value: object) -> tuple[dict[str, Any], ...]:
    return tuple(
        _object(each) for each in (value if isinstance(value, list) else []) if isinstance(each, Mapping)
    )


Text = Annotated[str | None, PlainValidator(_text)]
Number = Annotated[int | None, PlainValidator(_number)]
Time = Annotated[int | None, PlainValidator(time_of)]
"""Unix seconds; None for 0, which the vendor writes where there is no time."""
Flag = Annotated[bool | None, PlainValidator(flag_of)]
"""None: the callback does not say."""
Object = Annotated[dict[str, Any], PlainValidator(_object)]
Texts = Annotated[tuple[str, ...], PlainValidator(_texts)]
Objects = Annotated[tuple[dict[str, Any], ...], PlainValidator(_objects)]


class Shown(BaseModel):
    """Any object of a callback."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _nameable(cls, found: Any) -> dict[str, Any]:
        """Leave out the names that no attribute can have."""
        return {name: value for name, value in _object(found).items() if name == _text(name)}


Model = TypeVar("Model", bound=Shown)


class SignerSnapshot(Shown):
    """One row of ``signatures``: a signer and how far that signer got."""

    signature_id: Text = None
    signer_email_address: Text = None
    signer_name: Text = None
    signer_role: Text = None
    order: Number = None
    status_code: Text = None
    """Such as ``awaiting_signature``, ``signed``, ``declined``; an open set."""
    signed_at: Time = None
    last_viewed_at: Time = None
    last_reminded_at: Time = None
    decline_reason: Text = None
    error: Text = None
    reassigned_by: Text = None
    reassignment_reason: Text = None
    reassigned_from: Text = None
    has_pin: Flag = None
    has_sms_auth: Flag = None
    has_sms_delivery: Flag = None
    sms_phone_number: Text = None


def _signers(value: object) -> tuple[SignerSnapshot, ...]:
    return tuple(SignerSnapshot.model_validate(row) for row in _objects(value))


class RequestSnapshot(Shown):
    """A signature request as a callback shows it."""

    signature_request_id: Text = None
    title: Text = None
    original_title: Text = None
    subject: Text = None
    message: Text = None
    metadata: Object = {}
    """What your application attached to the request."""
    created_at: Time = None
    expires_at: Time = None
    test_mode: Flag = None
    is_complete: Flag = None
    is_declined: Flag = None
    has_error: Flag = None
    signatures: Annotated[tuple[SignerSnapshot, ...], PlainValidator(_signers)] = ()
    response_data: Objects = ()
    custom_fields: Objects = ()
    attachments: Objects = ()
    cc_email_addresses: Texts = ()
    template_ids: Texts = ()
    requester_email_address: Text = None
    client_id: Text = None
    bulk_send_job_id: Text = None
    signing_url: Text = None
    signing_redirect_url: Text = None
    details_url: Text = None
    files_url: Text = None
    final_copy_uri: Text = None

    def signer(self, signature_id: str | None) -> SignerSnapshot | None:
        """Return the signer with that signature id."""
        found = (each for each in self.signatures if each.signature_id is not None)
        return next((each for each in found if each.signature_id == signature_id), None)


class TemplateSnapshot(Shown):
    """A template as a callback shows it."""

    template_id: Text = None
    title: Text = None
    message: Text = None
    metadata: Object = {}
    updated_at: Time = None
    is_creator: Flag = None
    is_embedded: Flag = None
    is_locked: Flag = None
    can_edit: Flag = None
    signer_roles: Objects = ()
    cc_roles: Objects = ()
    documents: Objects = ()
    accounts: Objects = ()
    attachments: Objects = ()
    custom_fields: Objects = ()
    named_form_fields: Objects = ()


class AccountSnapshot(Shown):
    """An account as a callback shows it."""

    account_id: Text = None
    email_address: Text = None
    callback_url: Text = None
    role_code: Text = None
    team_id: Text = None
    locale: Text = None
    is_locked: Flag = None
    is_paid_hs: Flag = None
    is_paid_hf: Flag = None
    quotas: Object = {}


class FaxSnapshot(Shown):
    """A fax, which a callback shows under the name ``transmission``."""

    fax_id: Text = None
    title: Text = None
    original_title: Text = None
    subject: Text = None
    message: Text = None
    metadata: Object = {}
    created_at: Time = None
    sender: Text = None
    transmissions: Objects = ()
    files_url: Text = None
    final_copy_uri: Text = None


def shown(model: type[Model], payload: Mapping[str, Any], name: str, **known: str) -> Model | None:
    """Return an object of a callback; None if it has none. ``known``: fields that need not be in it."""
    found = payload.get(name)
    return model.model_validate({**known, **found}) if isinstance(found, dict) else None


_EMPTY: Final[tuple[Any, ...]] = (None, "", {}, [])


def filled(requests: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge several snapshots of one request, best first: an empty field is taken from the next one that has it."""
    known: dict[str, Any] = {}
    for request in requests:
        for name, value in request.items():
            if not _says(known.get(name)):
                known[name] = value
    return known


def _says(value: object) -> bool:
    # 0 is how a gutted callback shows a time; False is an answer.
    return value not in _EMPTY and (value != 0 or isinstance(value, bool))
