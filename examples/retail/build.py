#!/usr/bin/env python3
"""Builds the sample data of the retail demo.

    pip install pandas pyarrow
    python3 examples/retail/build.py path/to/online_retail.parquet

Reads UCI Online Retail (one row per invoice line, columns InvoiceNo StockCode
Description Quantity InvoiceDate UnitPrice CustomerID Country) and writes, next
to this file:

    events.ndjson     rapport.v1.Event, a purchase or a return per invoice: real
    customers.ndjson  rapport.v1.UpsertCustomerRequest, a customer per line:
                      the number and the country are real, all else is generated
    activity.ndjson   rapport.v1.Event, what the source does not have (visits,
                      calls, complaints): generated

The same input gives the same bytes: one fixed seed per customer, no clock.
SOURCE.md says what is real, what was changed and what was generated.
"""

import json
import random
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd

SEED = 2011
CUSTOMERS_MAX = 1000
LINES_PER_INVOICE_MAX = 8
# Invoice times are taken as local time of the shop.
SHOP_ZONE = ZoneInfo("Europe/London")
HERE = Path(__file__).parent

# Customers to take per country group: the rest of the world is rare in the
# source, so it is taken whole as far as these numbers go.
TAKE = {"United Kingdom": 800, "Germany": 60, "France": 50, "other": 90}

TIME_ZONES = {
    "United Kingdom": "Europe/London", "Channel Islands": "Europe/Jersey", "EIRE": "Europe/Dublin",
    "Germany": "Europe/Berlin", "Austria": "Europe/Vienna", "Switzerland": "Europe/Zurich",
    "France": "Europe/Paris", "Belgium": "Europe/Brussels", "Netherlands": "Europe/Amsterdam",
    "Spain": "Europe/Madrid", "Portugal": "Europe/Lisbon", "Italy": "Europe/Rome",
    "Australia": "Australia/Sydney", "Norway": "Europe/Oslo", "Sweden": "Europe/Stockholm",
    "Denmark": "Europe/Copenhagen", "Finland": "Europe/Helsinki", "Poland": "Europe/Warsaw",
    "Japan": "Asia/Tokyo", "Cyprus": "Asia/Nicosia", "Greece": "Europe/Athens", "Iceland": "Atlantic/Reykjavik",
    "Israel": "Asia/Jerusalem", "USA": "America/New_York", "Canada": "America/Toronto", "Malta": "Europe/Malta",
}
NAMES = {
    "en": "Alice Amy Ben Charlotte Daniel Emily George Grace Harry Isla Jack James Lucy Oliver Olivia Rosie Sophie Thomas".split(),
    "de": "Anna Clara Felix Hannah Johanna Jonas Lena Leon Lukas Marie Max Mia Moritz Paul Sophie Theresa".split(),
    "fr": "Antoine Camille Chloe Hugo Jules Julie Lea Louis Lucie Manon Nathan Pauline Theo Zoe".split(),
}


def money(value):
    return {"amount": f"{value:.2f}", "currency": "GBP"}


def stamp(local):
    """A local time of the shop as RFC 3339 in UTC."""
    return utc(local).strftime("%Y-%m-%dT%H:%M:%SZ")


def utc(local):
    return local.replace(tzinfo=SHOP_ZONE).astimezone(timezone.utc)


def read(path):
    rows = pd.read_parquet(path)
    rows = rows[rows["CustomerID"].notna() & (rows["UnitPrice"] > 0)].copy()
    rows["CustomerID"] = rows["CustomerID"].astype(int).astype(str)
    rows["time"] = pd.to_datetime(rows["InvoiceDate"], format="%m/%d/%y %H:%M")
    rows["cancelled"] = rows["InvoiceNo"].str.startswith("C")
    # A sale has positive pieces, a cancellation negative ones; the few others are dropped.
    rows = rows[rows["cancelled"] == (rows["Quantity"] < 0)]
    rows["line"] = range(len(rows))
    return rows


def choose(rows):
    """The customers of the sample: a fixed random choice per country group."""
    countries = rows.sort_values("line").groupby("CustomerID")["Country"].first()
    buyers = sorted(rows[~rows["cancelled"]]["CustomerID"].unique())
    chosen = []
    for group, take in TAKE.items():
        pool = [c for c in buyers if (countries[c] if countries[c] in TAKE else "other") == group]
        random.Random(f"{SEED}/{group}").shuffle(pool)
        chosen += pool[:take]
    # The customer of the very last invoice is in, so that the sample ends when the data does.
    last = rows[~rows["cancelled"]].sort_values(["time", "line"])["CustomerID"].iloc[-1]
    chosen = sorted(set(chosen[: CUSTOMERS_MAX - 1]) | {last})
    return {c: countries[c] for c in chosen}


def invoice_events(rows):
    events = []
    for (invoice, customer), lines in rows.groupby(["InvoiceNo", "CustomerID"]):
        lines = lines.sort_values("line")
        cancelled = bool(lines["cancelled"].iloc[0])
        total = abs((lines["Quantity"] * lines["UnitPrice"]).sum())
        items = [
            {"item": r.StockCode, "quantity": int(r.Quantity), "unitPrice": money(r.UnitPrice)}
            for r in lines.head(LINES_PER_INVOICE_MAX).itertuples()
        ]
        time = lines["time"].min().to_pydatetime()
        events.append((stamp(time), invoice, {
            "eventId": invoice, "source": "retail", "time": stamp(time),
            "customer": {
                "identities": [{"type": "customer_id", "value": customer}],
                "type": "return" if cancelled else "purchase", "channel": "web",
                "amount": money(total), "items": items,
            },
        }))
    return [e for _, _, e in sorted(events, key=lambda e: e[:2])]


class Phones:
    """Numbers reserved for fiction, each given once: +44 7700 900000-900999
    (Ofcom), +49 30 23125 000-999 (Bundesnetzagentur), +33 6 39 98 0000-9999
    (Arcep). Other countries get none."""

    def __init__(self):
        self.next = {"United Kingdom": 0, "Germany": 0, "France": 0}

    def take(self, country):
        if country not in self.next:
            return None
        n = self.next[country]
        self.next[country] += 1
        return {"United Kingdom": f"+447700900{n:03}", "Germany": f"+493023125{n:03}", "France": f"+3363998{n:04}"}[country]


def customer(number, country, facts, phones):
    """A customer with generated attributes and consents."""
    rng = random.Random(f"{SEED}/customer/{number}")
    german = country in ("Germany", "Austria", "Switzerland")
    names = NAMES["de" if german else "fr" if country in ("France", "Belgium") else "en"]
    name = rng.choice(names)
    attributes = {"country": country, "language": "de" if german else "en",
                  "time_zone": TIME_ZONES.get(country, "Europe/London")}
    identities = [{"type": "customer_id", "value": number}]
    if rng.random() < 0.92:
        attributes["first_name"] = name
    if rng.random() < 0.55:
        day = datetime(1950, 1, 1) + timedelta(days=rng.randrange(365 * 45))
        attributes["birthday"] = day.strftime("%Y-%m-%d")
    has_email, has_phone, has_app = rng.random() < 0.88, rng.random() < 0.85, rng.random() < 0.28
    if has_email:
        attributes["email"] = f"{name.lower()}.{number}@example.{'org' if german else 'com'}"
        identities.append({"type": "email", "value": attributes["email"]})
    phone = phones.take(country) if has_phone else None
    if phone:
        attributes["phone"] = phone
        identities.append({"type": "phone", "value": phone})
    if has_app:
        attributes["has_app"] = True
        attributes["push_token"] = f"push-{rng.getrandbits(64):016x}"
    if facts["average"] >= 450 and rng.random() < 0.5:
        attributes["business_account"] = True
    # A point for two pounds, of which some were spent.
    attributes["loyalty_points"] = int(facts["spend"] * rng.choice([0.0, 0.1, 0.25, 0.5]))
    taste = rng.random()
    if taste < 0.10:
        attributes["prefers_call"] = 1.0
    elif taste < 0.16:
        attributes["prefers_email"] = 0.3
    elif taste < 0.26:
        attributes["prefers_email"] = 1.6
    elif taste < 0.30:
        attributes["prefers_sms"] = 0.2
    if taste < 0.30:
        attributes["asked_preferences"] = True
    return identities, attributes, consents(rng, attributes)


def consents(rng, attributes):
    result = []

    def add(purpose, permission, channel=None):
        consent = {"purpose": f"CONSENT_PURPOSE_{purpose}", "permission": f"PERMISSION_{permission}", "source": "generated"}
        result.append({"channel": channel, **consent} if channel else consent)

    def draw(purpose, granted, denied, channel=None):
        at = rng.random()
        if at < granted + denied:
            add(purpose, "GRANTED" if at < granted else "DENIED", channel)
        return at < granted

    if rng.random() < 0.05:      # wants to hear nothing at all
        add("MARKETING", "DENIED")
        add("SERVICE", "DENIED", "email")
        add("SERVICE", "DENIED", "sms")
        draw("PROFILING", 0.3, 0.6)
        return result
    draw("PROFILING", 0.74, 0.10)
    if "email" in attributes and draw("MARKETING", 0.52, 0.15, "email"):
        attributes["newsletter_subscriber"] = True
    if "phone" in attributes:
        draw("MARKETING", 0.16, 0.20, "sms")
        draw("MARKETING", 0.10, 0.25, "call_centre")
    if "push_token" in attributes:
        draw("MARKETING", 0.70, 0.15, "push")
    draw("SERVICE", 0.10, 0.02, "sms")
    return result


def activity(number, facts, end, items):
    """Generated events of one customer: (time, event)."""
    rng = random.Random(f"{SEED}/activity/{number}")
    events = []

    def add(kind, time, channel, **more):
        events.append((time, {"type": kind, "channel": channel, **more}))

    def ago(days_min, days_max):
        return end - timedelta(minutes=rng.randrange(int(days_min * 1440), int(days_max * 1440) + 1))

    def line():
        return [{"item": rng.choice(items), "quantity": 1}]

    for _ in range(rng.choice([0, 0, 1, 2])):
        add("page_view", ago(0, 90), "web")
    if rng.random() < 0.14:      # looked around in the last days
        start = ago(0, 5)
        for n in range(rng.randrange(2, 5)):
            add("product_view", start + timedelta(minutes=2 * n) if start + timedelta(hours=1) < end else start, "web", items=line())
    elif rng.random() < 0.3:
        add("product_view", ago(15, 90), "web", items=line())
    if rng.random() < 0.05:      # left a basket
        add("basket_updated", ago(0, 2), "web", amount=money(rng.randrange(12, 90)), items=line())
    if rng.random() < 0.05:
        call = ago(0, 6) if rng.random() < 0.5 else ago(10, 60)
        add("call_started", call, "call_centre", data={"topic": rng.choice(["order", "delivery", "return", "other"])})
        add("call_ended", min(call + timedelta(minutes=7), end), "call_centre")
    if rng.random() < 0.05:
        opened = ago(3, 40)
        add("complaint_opened", opened, rng.choice(["email", "call_centre"]), data={"topic": rng.choice(["damaged", "late", "wrong item"])})
        if rng.random() < 0.4:
            add("complaint_closed", opened + timedelta(days=2), "call_centre")
    if facts["subscriber"] and rng.random() < 0.3:
        add("newsletter_signup", ago(20, 180), "web")
    if facts["app"]:
        add("app_opened", ago(0, 30), "push")
    if facts["average"] >= 450 and rng.random() < 0.2:
        add("catalogue_request", ago(10, 120), "web")
    return events


def write(name, records):
    text = "".join(json.dumps(r, separators=(",", ":"), ensure_ascii=False) + "\n" for r in records)
    (HERE / name).write_text(text, encoding="utf-8")
    print(f"{name}: {len(records)} lines, {len(text.encode()):,} bytes")


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: build.py path/to/online_retail.parquet")
    rows = read(sys.argv[1])
    countries = choose(rows)
    rows = rows[rows["CustomerID"].isin(countries)]
    sales = rows[~rows["cancelled"]].assign(total=lambda r: r["Quantity"] * r["UnitPrice"])
    spend = sales.groupby("CustomerID")["total"].sum()
    orders = sales.groupby("CustomerID")["InvoiceNo"].nunique()
    first = rows.groupby("CustomerID")["time"].min()
    end = sales["time"].max().to_pydatetime()
    popular = sales.groupby("StockCode").size().sort_values(ascending=False, kind="stable").head(200)
    popular = sorted(popular.index)

    phones, customers, acts = Phones(), [], []
    for number, country in countries.items():
        facts = {"spend": float(spend[number]), "average": float(spend[number] / orders[number])}
        identities, attributes, given = customer(number, country, facts, phones)
        since = stamp(first[number].to_pydatetime())
        customers.append({"identities": identities, "attributes": attributes,
                          "consents": [{**c, "time": since} for c in given], "time": since})
        facts.update(subscriber="newsletter_subscriber" in attributes, app="has_app" in attributes)
        acts += [(stamp(t), number, n, e) for n, (t, e) in enumerate(activity(number, facts, end, popular))]

    acts.sort(key=lambda a: a[:3])
    write("events.ndjson", invoice_events(rows))
    write("customers.ndjson", customers)
    write("activity.ndjson", [
        {"eventId": f"g{at:05}", "source": "generated", "time": time,
         "customer": {"identities": [{"type": "customer_id", "value": number}], **event}}
        for at, (time, number, _, event) in enumerate(acts, 1)
    ])


main()
