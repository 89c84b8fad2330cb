"""The document kinds: the fields of a document, its true values, and its JSON schema.

Each kind is declared once; its schema, true values, flat "fields array" definition and page text are all
derived from the declaration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random
from typing import Any, Final, Literal

Type = Literal[
    "string",
    "number",
    "integer",
    "boolean",
    "date",
    "currency",
    "signature",
    "enum",
    "object",
    "array",
]
Value = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a document kind.

    `blank` is the share of documents without a value for it. `boastful` marks a field for which the model
    reports too much confidence.
    """

    name: str
    type: Type
    description: str
    make: Callable[[Random], Any] | None = None
    blank: float = 0.0
    options: tuple[str, ...] = ()
    fields: tuple[Field, ...] = ()
    boastful: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """A document kind: `rows` names the array of objects that makes a document long, `key` the field that
    identifies a document."""

    name: str
    title: str
    description: str
    key: str
    rows: str
    fields: tuple[Field, ...]


COMPANIES: Final = (
    "Harbor & Pine Ltd", "Alder Freight GmbH", "Quill Office Supply", "Northlight Clinics", "Baltic Timber AB", "Mesa Packaging Inc",
    "Orchard Foods Co", "Redwood Insurance", "Kestrel Logistics", "Vantage Dental Group", "Copper Kettle Cafe", "Solent Marine plc",
)  # fmt: skip
PEOPLE: Final = (
    "R. Okafor", "Dana Whitfield", "Mina Sørensen", "J. Calder", "Priya Raman", "Tomás Ibarra", "A. Lindqvist", "Grace Obuya",
)  # fmt: skip
GOODS: Final = (
    "Cedar planks, 2 m", "Delivery", "Packing tape 48 mm", "Pallet, euro size", "Steel brackets M8", "Printer paper A4", "Cold storage, 4 days",
    "Consulting, half day", "Sea salt 25 kg", "Window seals", "Espresso beans 1 kg", "Copper pipe 22 mm", "Gloves, nitrile, box of 100",
)  # fmt: skip
CITIES: Final = (
    "Rotterdam",
    "Gdańsk",
    "Valencia",
    "Aarhus",
    "Felixstowe",
    "Hamburg",
    "Trieste",
    "Leixões",
)
CURRENCIES: Final = ("EUR", "USD", "GBP", "PLN", "SEK")


def _pick(words: tuple[str, ...]) -> Callable[[Random], str]:
    return lambda rng: rng.choice(words)


def _code(prefix: str, digits: int) -> Callable[[Random], str]:
    return lambda rng: f"{prefix}{rng.randrange(10 ** (digits - 1), 10**digits)}"


def _day(rng: Random) -> str:
    return (date(2026, 1, 4) + timedelta(days=rng.randrange(240))).isoformat()


def _money(low: int, high: int) -> Callable[[Random], Value]:
    def make(rng: Random) -> Value:
        return {
            "amount": rng.randrange(low * 100, high * 100) / 100,
            "iso_4217_currency_code": rng.choice(CURRENCIES),
        }

    return make


def _count(low: int, high: int) -> Callable[[Random], int]:
    return lambda rng: rng.randrange(low, high)


def _weight(rng: Random) -> float:
    return rng.randrange(40, 240_000) / 10


def _yes(rng: Random) -> bool:
    return rng.random() < 0.7


def _address(rng: Random) -> str:
    return f"{rng.randrange(1, 220)} {rng.choice(('Quay Street', 'Mill Lane', 'Station Road', 'Dock Row'))}, {rng.choice(CITIES)}"


def _iban(rng: Random) -> str:
    return f"NL{rng.randrange(10, 99)}BANK{rng.randrange(10**9, 10**10)}"


_SIGNED_FIELDS: Final = (
    Field("printed_name", "string", "Printed name", _pick(PEOPLE)),
    Field("signature_date", "date", "Date next to the signature", _day, blank=0.3),
    Field("is_signed", "boolean", "Signed or not", _yes),
    Field(
        "title_or_role",
        "string",
        "Role of the signer",
        _pick(("Yard manager", "Controller", "Branch lead", "Policy holder")),
        blank=0.3,
    ),
)
_MONEY_FIELDS: Final = (
    Field("amount", "number", "Amount"),
    Field("iso_4217_currency_code", "string", "Currency"),
)


def _line(goods: str, low: int, high: int) -> tuple[Field, ...]:
    return (
        Field("description", "string", goods, _pick(GOODS)),
        Field("sku", "string", "Article number", _code("SKU-", 5), blank=0.2),
        Field("quantity", "number", "Units", _count(1, 60)),
        Field("unit", "enum", "Unit of measure", options=("piece", "box", "kg", "hour")),
        Field("amount", "currency", "Amount of the line", _money(low, high)),
    )


KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind("invoice", "Supplier invoice", "Bill from a supplier", "invoice_number", "line_items", (
            Field("invoice_number", "string", "Supplier's invoice number", _code("HP-", 5)),
            Field("issue_date", "date", "Day of issue", _day),
            Field("due_date", "date", "Day of payment", _day, blank=0.1),
            Field("supplier_name", "string", "Who sends the bill", _pick(COMPANIES)),
            Field("supplier_address", "object", "Where the supplier sits", fields=(
                Field("street", "string", "Street and number", _address),
                Field("country_code", "string", "Two letters", _pick(("NL", "PL", "ES", "DK", "GB")), blank=0.1),
            )),
            Field("iban", "string", "Account to pay to", _iban, blank=0.2),
            Field("po_number", "string", "Purchase order", _code("PO-", 4), blank=0.15, boastful=True),
            Field("payment_terms", "enum", "When to pay", options=("NET_30", "NET_60", "ON_RECEIPT")),
            Field("total", "currency", "Amount due", _money(40, 20_000)),
            Field("approval", "signature", "Who approved it", fields=_SIGNED_FIELDS, blank=0.4),
            Field("line_items", "array", "What was billed", fields=_line("What was bought", 5, 2_000)),
        )),
        Kind("receipt", "Receipt", "Till or card receipt", "receipt_number", "items", (
            Field("receipt_number", "string", "Number on the receipt", _code("R", 6)),
            Field("merchant", "string", "Shop", _pick(COMPANIES)),
            Field("purchased_on", "date", "Day of purchase", _day),
            Field("card_last_four", "string", "Last digits of the card", _code("", 4), blank=0.3, boastful=True),
            Field("payment_method", "enum", "How it was paid", options=("card", "cash", "voucher")),
            Field("tip", "currency", "Tip", _money(1, 20), blank=0.5),
            Field("total", "currency", "Amount paid", _money(3, 300)),
            Field("items", "array", "What was bought", fields=_line("What was bought", 1, 90)),
        )),
        Kind("claim", "Insurance claim", "Claim for a covered loss", "claim_number", "services", (
            Field("claim_number", "string", "Number of the claim", _code("CLM-", 7)),
            Field("policy_number", "string", "Number of the policy", _code("POL", 8)),
            Field("patient", "object", "Who was treated", fields=(
                Field("full_name", "string", "Name", _pick(PEOPLE)),
                Field("date_of_birth", "date", "Born on", lambda rng: (date(1950, 1, 1) + timedelta(days=rng.randrange(20_000))).isoformat()),
            )),
            Field("diagnosis_code", "string", "ICD-10", lambda rng: f"{rng.choice('ABEJKMS')}{rng.randrange(10, 99)}.{rng.randrange(10)}", boastful=True),
            Field("admitted_on", "date", "Day of admission", _day, blank=0.2),
            Field("pre_authorized", "boolean", "Was it authorized before", _yes, blank=0.1),
            Field("claimed", "currency", "Amount claimed", _money(80, 40_000)),
            Field("attestation", "signature", "Who signed the claim", fields=_SIGNED_FIELDS),
            Field("services", "array", "What was done", fields=_line("What was done", 20, 4_000)),
        )),
        Kind("bill_of_lading", "Bill of lading", "Contract of carriage", "bl_number", "cargo", (
            Field("bl_number", "string", "Number of the bill", _code("MAEU", 9)),
            Field("shipper", "string", "Who sends", _pick(COMPANIES)),
            Field("consignee", "string", "Who receives", _pick(COMPANIES)),
            Field("vessel", "string", "Ship", _pick(("MV Kestrel", "Solent Star", "Baltic Wren", "Aurora Bay")), blank=0.1),
            Field("port_of_loading", "string", "From", _pick(CITIES)),
            Field("port_of_discharge", "string", "To", _pick(CITIES)),
            Field("container_number", "string", "Container", _code("MSKU", 7), blank=0.15, boastful=True),
            Field("gross_weight_kg", "number", "Weight in kilograms", _weight),
            Field("shipped_on", "date", "On board since", _day),
            Field("carrier_signature", "signature", "For the carrier", fields=_SIGNED_FIELDS),
            Field("cargo", "array", "What is carried", fields=_line("Goods", 100, 9_000)),
        )),
        Kind("bank_statement", "Bank statement", "Account statement", "statement_number", "transactions", (
            Field("statement_number", "string", "Number of the statement", _code("S", 5)),
            Field("account_holder", "string", "Whose account", _pick(COMPANIES)),
            Field("iban", "string", "Account", _iban),
            Field("period_start", "date", "First day", _day),
            Field("period_end", "date", "Last day", _day, boastful=True),
            Field("opening_balance", "currency", "Before", _money(0, 90_000)),
            Field("closing_balance", "currency", "After", _money(0, 90_000)),
            Field("page_count", "integer", "Pages as printed", _count(1, 9)),
            Field("transactions", "array", "Bookings", fields=_line("Booking text", 1, 5_000)),
        )),
    )
}  # fmt: skip

ROWS: Final = {"light": (1, 1), "normal": (2, 7), "heavy": (24, 24)}
"""The number of rows in a document of each size: (minimum, maximum), both inclusive."""


def truth(kind: Kind, rng: Random, size: str) -> Value:
    """The true values of a document of this kind."""
    low, high = ROWS[size]
    return {field.name: _true(field, rng, rng.randint(low, high)) for field in kind.fields}


def _true(field: Field, rng: Random, rows: int) -> Any:
    if field.type == "array":
        return [{part.name: _true(part, rng, 0) for part in field.fields} for _ in range(rows)]
    if field.type == "signature":
        absent = rng.random() < field.blank
        return {part.name: None if absent else _true(part, rng, 0) for part in field.fields}
    if field.type == "object":
        return {part.name: _true(part, rng, 0) for part in field.fields}
    if rng.random() < field.blank:
        return {"amount": None, "iso_4217_currency_code": None} if field.type == "currency" else None
    if field.type == "enum":
        return rng.choice(field.options)
    assert field.make is not None
    return field.make(rng)


def leaves(kind: Kind, value: Value) -> Iterator[tuple[str, Field, Value, str]]:
    """(path, field, holder, key) of each value that a person would call a field.

    A currency or a signature counts as one field.
    """
    for field in kind.fields:
        if field.type == "array":
            for position, row in enumerate(value[field.name]):
                for part in field.fields:
                    yield f"{field.name}[{position}].{part.name}", part, row, part.name
        elif field.type == "object":
            for part in field.fields:
                yield f"{field.name}.{part.name}", part, value[field.name], part.name
        else:
            yield field.name, field, value, field.name


def schema(kind: Kind) -> Value:
    """The JSON schema with which an extractor for this kind is configured."""
    return _object(kind.fields)


def _object(fields: tuple[Field, ...]) -> Value:
    return {
        "type": "object",
        "properties": {field.name: _property(field) for field in fields},
        "required": [field.name for field in fields],
        "additionalProperties": False,
    }


def _property(field: Field) -> Value:
    about = {"description": field.description}
    match field.type:
        case "array":
            return {"type": "array", **about, "items": _object(field.fields)}
        case "object":
            return {**_object(field.fields), **about}
        case "currency":
            return {**_object(_MONEY_FIELDS), "extend:type": "currency", **about}
        case "signature":
            return {**_object(field.fields), "extend:type": "signature", **about}
        case "enum":
            return {"enum": [*field.options, None], **about}
        case "date":
            return {"type": ["string", "null"], "extend:type": "date", **about}
    return {"type": [field.type, "null"], **about}


def words(field: Field, value: Any) -> str:
    """A value as it is printed on the page."""
    if value is None:
        return ""
    if field.type == "currency":
        return "" if value["amount"] is None else f"{value['amount']:,.2f} {value['iso_4217_currency_code']}"
    if field.type == "signature":
        return value["printed_name"] or ""
    if field.type == "boolean":
        return "yes" if value else "no"
    return str(value)
