"""The price book: each figure with its source and date, the book that fits a month, and mistakes that are named."""

from decimal import Decimal
from importlib import resources

import pytest

from rowhouse.usage.vendor_prices import PriceBookError, book_for, read_book

SHIPPED = resources.files("rowhouse.usage.vendor_prices").joinpath("2026-11.yaml").read_text(encoding="utf-8")


def test_every_vendor_says_where_its_figures_are_from_and_when():
    for vendor, source in book_for("2026-11").sources().items():
        assert source.page.startswith("https://"), vendor
        assert source.read[:4] == "2026", vendor


def test_figures_that_were_read_nowhere_are_named():
    sources = book_for("2026-11").sources()
    assert {vendor: source.assumed for vendor, source in sources.items() if source.assumed} == {
        "fly": ("other_region_markup", "assumed_root_gb"),
        "stripe": ("payment_percent", "payment_fixed"),
        "object_storage": ("gb_month", "million_writes"),
    }


def test_a_month_takes_the_latest_book_that_is_not_newer_and_the_oldest_before_all():
    assert book_for("2026-11").name == book_for("2031-01").name == book_for("2020-01").name == "2026-11.yaml"


def test_fifty_seats_are_free_and_the_fifty_first_makes_all_of_them_cost():
    seats = book_for("2026-11").cloudflare
    assert [seats.seats_cost(count) for count in (0, 50, 51)] == [Decimal(0), Decimal(0), Decimal(357)]


def test_nothing_billed_costs_no_fee():
    stripe = book_for("2026-11").stripe
    assert (stripe.fee(Decimal(0)), stripe.fee(Decimal(100))) == (Decimal(0), Decimal("0.7"))


def test_fly_s_known_machines_come_out_right():
    fly = book_for("2026-11").fly
    costs = [(fly.shared_cpu_month + fly.memory_gb_month * mb / 1024).quantize(Decimal("0.01")) for mb in (256, 512, 1024)]
    assert all(abs(cost - Decimal(told)) <= Decimal("0.01") for cost, told in zip(costs, ("1.94", "3.19", "5.70"), strict=True))
    ams = (Decimal("1.94") * fly.markup("ams"), Decimal("1.94") * fly.markup("sjc"))
    assert [round(cost, 2) for cost in ams] == [Decimal("2.02"), Decimal("2.32")]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('seat_month: "7"', 'seat_month: "seven"', "cloudflare.seat_month is 'seven'"),
        ('seat_month: "7"', 'seat_month: "-7"', "cloudflare.seat_month is '-7'"),
        ('seat_month: "7"', 'seats_month: "7"', "cloudflare: seat_month is missing"),
        ("read: 2026-08-07", "read: last summer", "fly.read is 'last summer'"),
        ("page: https://fly.io", "page: fly.io", "fly.page must be the address"),
        ("\n  unverified: true", "\n  unverified: perhaps", "unverified is 'perhaps'"),
        ("assumed: [gb_month,", "assumed: [tb_month,", "object_storage.assumed must be a list of figures"),
        ("currency: usd", "currency: dollars", "currency 'dollars'"),
        ("railway:", "railroad:", "railway is missing"),
        ('{ams: "1.041", sjc: "1.196"}', "none", "fly.region_markup must be regions"),
        ("currency: usd", "currency: [usd", "it is no YAML"),
    ],
)
def test_a_mistake_is_named_with_file_and_figure(tmp_path, old, new, told):
    assert old in SHIPPED
    path = tmp_path / "mine.yaml"
    path.write_text(SHIPPED.replace(old, new, 1))
    with pytest.raises(PriceBookError, match=r"mine\.yaml") as caught:
        read_book(path)
    assert told in str(caught.value)


def test_a_book_that_is_not_there_is_told_in_one_sentence(tmp_path):
    with pytest.raises(PriceBookError, match="cannot be read"):
        read_book(tmp_path / "none.yaml")
