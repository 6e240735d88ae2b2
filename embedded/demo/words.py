"""Word lists for made-up names, addresses, products and reviews."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from embedded.demo.draws import IntArray


def _listed(text: str) -> list[str]:
    return text.split()


FIRST_NAMES = _listed("""
    Ada Alan Alice Amir Ana Andre Anya Ben Bruno Carla Carlos Chen Clara Daniel Diego Elena Elif Emma
    Erik Eva Fatima Felix Freya George Grace Hana Hugo Ines Ivan Jack Jana José Julia Kai Karim Lena Leo
    Lina Louis Maja Marta Maya Mei Mia Mohamed Nadia Nina Noah Nora Oliver Omar Oscar Paula Pedro Priya
    Rafael Ravi Rosa Ruth Sam Sara Sofia Stefan Tara Theo Tom Uma Vera Victor Yara Yusuf Zoë
""")
LAST_NAMES = _listed("""
    Adams Almeida Andersson Baker Bauer Becker Brown Carter Clark Costa Cruz Davis Diaz Dubois Evans
    Fischer Fernández Garcia Gray Green Hall Hansen Hill Hughes Ivanov Jansen Johnson Jones Khan Kim
    King Kowalski Kumar Larsen Lee Lewis Lopez Martin Meyer Miller Moore Moreau Müller Nguyen Novak
    O'Brien Okafor Olsen Patel Perez Petrov Reed Rossi Roy Ruiz Sato Schmidt Silva Singh Smith Suzuki
    Taylor Thomas Torres Turner Walker Wang Weber White Wilson Wong Wright Young Zhang
""")
MAIL_DOMAINS = ("example.com", "example.net", "example.org", "mail.example.com", "post.example.net")
STREETS = _listed("""
    Maple Oak Cedar Pine Elm Walnut Willow Lake Hill River Park Church Mill Spring Main Market Station
    Garden Washington Lincoln Jefferson Madison Franklin Highland Sunset Valley Forest Meadow Orchard
    Harbor
""")
STREET_KINDS = ("St", "Ave", "Rd", "Blvd", "Lane", "Drive", "Court")
# city, state, first three digits of the ZIP code, area code
CITIES = (
    ("New York", "NY", "100", "212"),
    ("Los Angeles", "CA", "900", "213"),
    ("Chicago", "IL", "606", "312"),
    ("Houston", "TX", "770", "713"),
    ("Phoenix", "AZ", "850", "602"),
    ("Philadelphia", "PA", "191", "215"),
    ("San Antonio", "TX", "782", "210"),
    ("San Diego", "CA", "921", "619"),
    ("Dallas", "TX", "752", "214"),
    ("Austin", "TX", "787", "512"),
    ("Columbus", "OH", "432", "614"),
    ("Seattle", "WA", "981", "206"),
    ("Denver", "CO", "802", "303"),
    ("Boston", "MA", "021", "617"),
    ("Portland", "OR", "972", "503"),
    ("Las Vegas", "NV", "891", "702"),
    ("Detroit", "MI", "482", "313"),
    ("Memphis", "TN", "381", "901"),
    ("Baltimore", "MD", "212", "410"),
    ("Milwaukee", "WI", "532", "414"),
    ("Atlanta", "GA", "303", "404"),
    ("Miami", "FL", "331", "305"),
    ("Minneapolis", "MN", "554", "612"),
    ("New Orleans", "LA", "701", "504"),
)
CATEGORIES = (
    "Books",
    "Clothing",
    "Electronics",
    "Garden",
    "Health",
    "Home",
    "Kitchen",
    "Music",
    "Office",
    "Outdoor",
    "Pets",
    "Toys",
)
ADJECTIVES = _listed("""
    Antique Blue Bright Classic Compact Copper Cotton Felt Folding Glass Golden Green Heavy Ivory Large
    Light Linen Mini Modern Oak Pocket Portable Red Retro Round Rustic Silver Slim Small Soft Steel
    Striped Vintage Warm White Wooden
""")
THINGS = _listed("""
    Apron Bag Basket Blanket Bottle Bowl Box Brush Candle Clock Cup Cushion Frame Glove Hanger Jar
    Kettle Lamp Lantern Mat Mirror Mug Notebook Pen Plate Rack Scarf Shelf Stool Tin Torch Towel Tray
    Umbrella Vase Wallet
""")
REVIEW_OPENINGS = (
    "Just as described.",
    "Arrived quickly.",
    "Not what I expected.",
    "A gift for my sister.",
    "",
)
REVIEW_BODIES = (
    "Would buy again.",
    "The colour is different from the picture.",
    "Good value for the price.",
    "It broke after a week.",
    "Très joli, merci!",
    "Works well, packaging was damaged.",
    "Five stars ★★★★★",
    "Too small for me, had to return it.",
    'The label says "handmade", and it looks it.',
    "Ok.",
)


def pick(words: tuple[str, ...] | list[str], positions: IntArray) -> pa.StringArray:
    """The words at `positions`, as one Arrow column."""
    return pa.array(words, pa.string()).take(pa.array(positions))


def join(*parts: pa.Array | str, between: str = "") -> pa.StringArray:
    """Joins columns and constants row by row; null where any part is null."""
    return pc.binary_join_element_wise(*parts, between)


def number(values: IntArray, width: int = 0) -> pa.StringArray:
    """Integers as text, with leading zeros up to `width` digits."""
    text = pa.array(values).cast(pa.string())
    return pc.utf8_lpad(text, width, "0") if width else text
