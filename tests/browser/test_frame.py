"""The frame and the first steps as a person has them: both themes, two widths, keyboard, without
scripts, and nothing for axe or the content security policy to object to."""

from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.history import Happening
from tests.people import new_account, new_property, new_user
from tests.test_report_page import fill

from .conftest import Look, findings, overflow


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1280, "dark")])
def test_the_entrance_fits_and_axe_finds_nothing(
    page: Page, web_server: str, width: int, scheme: Any
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    for path in ("/user/login/", "/user/signup/", "/user/password/reset/", "/p/AK-NOTHING/"):
        page.goto(web_server + path)
        assert (path, overflow(page)) == (path, 0)
        assert (path, findings(page)) == (path, [])


def test_the_code_for_the_authenticator_can_be_scanned(look: Look, alice: Any) -> None:
    from tests.people import PASSWORD

    page = look(alice, "/user/2fa/totp/activate/", scheme="dark", fresh=False)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Confirm").click()
    code = page.locator("img.qr")
    expect(code).to_be_visible()
    assert code.evaluate("image => image.naturalWidth") > 0
    assert code.evaluate("image => getComputedStyle(image).backgroundColor") == "rgb(255, 255, 255)"
    assert findings(page) == []


def background(page: Page) -> str:
    return page.evaluate("getComputedStyle(document.documentElement).backgroundColor")


def test_a_chosen_theme_stays_and_the_system_rules_otherwise(look: Look, alice: Any) -> None:
    page = look(alice, "/new-account/")
    light = background(page)
    page.get_by_role("button", name="Dark").click()
    dark = background(page)
    assert dark != light
    page.reload()
    assert background(page) == dark
    expect(page.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Auto").click()
    assert background(page) == light
    page.emulate_media(color_scheme="dark")
    assert background(page) == dark


def test_the_theme_is_there_before_anything_is_painted(look: Look, alice: Any) -> None:
    page = look(alice, "/new-account/")
    page.evaluate("localStorage.setItem('theme', 'dark')")
    # Registered after the choice and run before the page's own scripts: sees the first <body>.
    page.add_init_script(
        "new MutationObserver(() => { if (document.body && !window.atFirst)"
        " window.atFirst = document.documentElement.dataset.theme; })"
        ".observe(document, { childList: true, subtree: true });"
    )
    page.reload()
    assert page.evaluate("window.atFirst") == "dark"


def test_first_steps_propose_a_short_name_and_this_browsers_zone(look: Look) -> None:
    page = look(new_user("new"), "/", timezone_id="America/Sao_Paulo")
    expect(page.get_by_role("heading", name="Name your account")).to_be_visible()
    page.get_by_label("Name", exact=True).fill("Löwe & Söhne")
    short = page.get_by_label("Short name")
    expect(short).to_have_value("lowe-sohne")
    short.fill(new_user("x").email.split("@")[0])
    page.get_by_label("Name", exact=True).fill("Another")
    expect(short).to_have_value(short.input_value())
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_label("Time zone")).to_have_value("America/Sao_Paulo")
    assert zones_unknown_to_us(page) == []
    page.get_by_label("Name", exact=True).fill("Shop")
    page.get_by_label("Address").fill("https://www.example.com/")
    page.get_by_role("button", name="Add property").click()
    expect(page.get_by_text("Waiting for the first event")).to_be_visible()


def zones_unknown_to_us(page: Page) -> list[str]:
    """Browsers may call zones by former names, such as Asia/Calcutta: those are fine, too."""
    from properties.periods import zone_names

    named = page.evaluate("Intl.supportedValuesOf('timeZone')")
    return [name for name in named if name not in zone_names()]


def test_menus_and_tabs_obey_the_keyboard(look: Look, alice: Any, shop: Any) -> None:
    page = look(alice, f"/p/{shop.key}/snippet/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    menu = page.locator("details.menu", has_text="Property:")
    menu.locator("summary").press("Enter")
    expect(menu.get_by_role("link", name="New property")).to_be_visible()
    page.keyboard.press("Escape")
    expect(menu.get_by_role("link", name="New property")).to_be_hidden()
    expect(menu.locator("summary")).to_be_focused()
    page.get_by_role("tab", name="HTML").press("ArrowRight")
    expect(page.get_by_role("tab", name="Tag manager")).to_be_focused()
    expect(page.get_by_role("tabpanel", name="Tag manager")).to_be_visible()
    expect(page.locator("#html")).to_be_hidden()


def test_a_copy_button_copies_the_snippet(look: Look, alice: Any, shop: Any) -> None:
    grants = ["clipboard-read", "clipboard-write"]
    page = look(alice, f"/p/{shop.key}/snippet/", permissions=grants)
    page.locator("#html").get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.locator("#html pre").inner_text()
    assert shop.key in copied


def test_without_scripts_everything_is_still_there(look: Look, alice: Any, shop: Any) -> None:
    page = look(alice, f"/p/{shop.key}/snippet/", java_script_enabled=False)
    for name in ("html", "tag-manager", "server", "pixel", "classic"):
        expect(page.locator(f"#{name} pre")).to_be_visible()
    expect(page.get_by_role("link", name="Look again")).to_be_visible()
    page.locator("details.menu", has_text="Account:").locator("summary").click()
    expect(page.get_by_role("link", name="New account")).to_be_visible()


def test_an_account_of_mine_can_be_switched_to(look: Look, alice: Any, shop: Any) -> None:
    other = new_account(alice, "initech")
    page = look(alice, f"/p/{shop.key}/snippet/")
    page.locator("details.menu", has_text="Account:").locator("summary").click()
    page.get_by_role("link", name=other.name).click()
    expect(page.get_by_text("No property yet")).to_be_visible()


def test_a_list_of_properties_goes_to_the_entrance_when_its_reader_is_signed_out(
    look: Look, alice: Any, acme: Any, shop: Any
) -> None:
    """What it fetches for its cards would show the entrance inside of each."""
    from django.utils import timezone

    for _ in range(30):  # the last are out of sight, and not fetched yet
        place = new_property(acme)
        type(place).objects.of(acme).filter(pk=place.pk).update(first_event_at=timezone.now())
    page = look(alice, f"/a/{acme.slug}/")
    expect(page.locator(".glance p").first).to_be_visible()
    page.context.clear_cookies()
    page.mouse.wheel(0, 9_000)
    page.wait_for_url(f"**/login/?next=/a/{acme.slug}/")


def test_a_glance_takes_no_room_without_scripts(look: Look, alice: Any, shop: Any) -> None:
    from django.utils import timezone

    type(shop).objects.of(shop.account).filter(pk=shop.pk).update(first_event_at=timezone.now())
    page = look(alice, f"/a/{shop.account.slug}/", java_script_enabled=False)
    assert page.locator(".glance").bounding_box() is None


def test_a_glance_fits_into_the_room_that_waits_for_it(look: Look, alice: Any, shop: Any) -> None:
    """Also on a phone, with a change beside the number: else the page would move."""
    from django.utils import timezone

    now = timezone.now()
    days = [now - timedelta(days=day, hours=1) for day in range(70)]
    many = [Happening(day, visitor) for day in days for visitor in range(100)]
    many += [Happening(day, 1_000 + at) for at, day in enumerate(days[5:25])]
    fill(shop, sorted(many, key=lambda each: each.time))
    page = look(alice, f"/a/{shop.account.slug}/", 360)
    expect(page.locator(".glance .change")).to_have_text("+20 %")
    [glance, line, text] = [
        page.locator(each).bounding_box() for each in (".glance", ".glance-line", ".glance p")
    ]
    assert glance is not None
    assert line is not None
    assert text is not None
    assert glance["height"] == 40
    assert line["x"] + line["width"] <= text["x"]
    assert overflow(page) == 0
