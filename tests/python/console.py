"""Looks at the console with a headless Chromium, as `tests/it/console.rs` has it.

What must be done to the gateway or its devices it says in one word on its standard output, and
waits for the answer. Pictures go to the folder GATEHOUSE_SHOTS.
"""

import json
import os
import sys
import urllib.request
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

BASE = os.environ["GATEHOUSE_HTTP"]
TOKEN = Path(os.environ["GATEHOUSE_TOKEN_FILE"]).read_text().strip()
SHOTS = Path(os.environ["GATEHOUSE_SHOTS"])

# The devices of `console.rs`.
DOOR = 1001
FLEET = 220
ABSENT = 3001
STRANGER = 4001
SILENT = 1003
CERTIFIED = 1004
OWNED = [("north", 1101), ("north", 1102), ("south", 1201)]

# No wait takes this long where the page works; it only keeps a broken run from hanging.
PATIENCE = 60_000
MANY = 10_000
# Those by which the table is sorted.
COLUMNS = 7
EVIL = "<img src=x onerror=alert(1)>\\u{1b}[31m"

# In the page before its own scripts: what must not happen, and the events that it showed.
WATCH = """
window.broken = [];
window.shown = new Set();
addEventListener("securitypolicyviolation", (event) => broken.push(`${event.violatedDirective} ${event.blockedURI}`));
addEventListener("DOMContentLoaded", () => {
  new MutationObserver((changes) => {
    for (const { addedNodes } of changes) {
      for (const { dataset } of addedNodes) if (dataset?.number) shown.add(Number(dataset.number));
    }
  }).observe(document.getElementById("feed"), { childList: true });
});
"""


def do(word):
    print(word, flush=True)
    assert sys.stdin.readline() == "done\n", f"{word} was not done"


def ask(path):
    with urllib.request.urlopen(BASE + path) as answer:
        return json.load(answer)


def events(after, until):
    """The numbers of the events after one, up to another, as the gateway has them."""
    numbers = []
    with urllib.request.urlopen(f"{BASE}/v3/fleet/events?after={after}") as stream:
        for line in stream:
            assert line != b"event: gap\n", "the gateway has them no more"
            if line.startswith(b"id:") and int(line[3:]) > after:
                numbers.append(int(line[3:]))
                if numbers[-1] >= until:
                    return numbers
    raise AssertionError("the gateway ended the stream")


class Browser:
    """A Chromium whose pages may load nothing from elsewhere, open no dialog and log no error."""

    def __init__(self, playwright):
        # Chromium has no sandbox for root.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        path = os.environ.get("GATEHOUSE_CHROMIUM", "/usr/bin/chromium")
        self.chromium = playwright.chromium.launch(executable_path=path, args=arguments)
        self.wrong = []
        # The browser tells a gateway that is down, and a call that was refused, as an error of the
        # page.
        self.gateway_is_up = True
        self.refusals = set()

    def page(self, scheme="light", width=1440, height=900):
        context = self.chromium.new_context(
            color_scheme=scheme, viewport={"width": width, "height": height})
        context.add_init_script(WATCH)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("console", self.heard)
        page.on("pageerror", lambda error: self.wrong.append(f"exception: {error}"))
        page.on("dialog", lambda dialog: self.wrong.append(f"dialog: {dialog.message}"))
        page.on("request", self.requested)
        return page

    def heard(self, message):
        text = message.text
        is_network = "net::ERR_" in text or "WebSocket connection" in text
        is_expected = is_network and not self.gateway_is_up
        is_expected |= any(f"responded with a status of {status}" in text for status in self.refusals)
        if message.type == "error" and not is_expected:
            self.wrong.append(f"console: {text}")

    def requested(self, request):
        own = BASE.removeprefix("http")
        if request.url.removeprefix("http").removeprefix("ws").startswith(own):
            return
        if not request.url.startswith("data:"):
            self.wrong.append(f"request: {request.url}")

    def check(self, page):
        broken = page.evaluate("window.broken")
        assert not broken, broken
        assert not self.wrong, self.wrong


def rows(page):
    return page.locator(".body .row:visible")


def row_of(page, id):
    return rows(page).filter(has=page.get_by_role("link", name=str(id), exact=True))


def search(page, text):
    page.locator("#search").fill(text)


def chip(page, group):
    return page.locator(f"#chips [data-group={group}]")


def first_name(page):
    """The name in the topmost row."""
    names = page.evaluate("""() => [...document.querySelectorAll(".body .row")]
        .filter((row) => !row.hidden)
        .sort((a, b) => a.getAttribute("aria-rowindex") - b.getAttribute("aria-rowindex"))
        .map((row) => row.querySelector("a").textContent)""")
    return names[0]


def the_fleet_appears(page):
    page.goto(BASE)
    expect(page.locator("#live")).to_have_text("Live")
    expect(chip(page, "connected").locator("b")).to_have_text(str(FLEET + 1))
    expect(page.locator("#shown")).to_have_text(f"{FLEET + 2} devices")
    assert rows(page).count() < 60, "only rows in sight are on the page"
    door = row_of(page, DOOR)
    expect(door).to_have_attribute("data-group", "connected")
    expect(door.locator(".c-status")).to_have_text("Connected")
    expect(door.locator(".c-link")).to_have_text("aes")


def it_is_searched_and_sorted(page):
    search(page, str(ABSENT))
    expect(rows(page)).to_have_count(1)
    expect(row_of(page, ABSENT).locator(".c-why")).to_contain_text("dial failed")
    search(page, "nobody has this name")
    expect(page.locator(".table .empty")).to_contain_text("No device matches")
    page.get_by_role("button", name="Show all").click()
    expect(page.locator("#shown")).to_have_text(f"{FLEET + 2} devices")

    head = page.get_by_role("columnheader", name="Device")
    expect(head).to_have_attribute("aria-sort", "ascending")
    assert first_name(page) == str(DOOR)
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "descending")
    assert first_name(page) == str(ABSENT)
    head.get_by_role("button").click()
    assert first_name(page) == str(DOOR)

    chip(page, "unreachable").click()
    expect(rows(page)).to_have_count(1)
    row = row_of(page, ABSENT)
    row.get_by_role("button", name="Retry now").click()
    expect(page.locator("#toasts")).to_contain_text(f"{ABSENT} is dialled now")
    chip(page, "all").click()
    expect(page.locator("#shown")).to_have_text(f"{FLEET + 2} devices")


def a_device_drops_and_returns(page):
    door = row_of(page, DOOR)
    expect(door).to_have_attribute("data-group", "connected")
    do("drop")
    expect(door).not_to_have_attribute("data-group", "connected")
    expect(door.locator(".c-why")).to_contain_text("try")
    do("return")
    expect(door).to_have_attribute("data-group", "connected")
    told = page.locator("#feed li").filter(has_text=str(DOOR))
    expect(told.filter(has_text="Connected").first).to_be_attached()


def a_click_disconnects(page):
    search(page, str(FLEET + 2000))
    row = row_of(page, FLEET + 2000)
    row.get_by_role("button", name="Disconnect").click()
    expect(row.get_by_role("button")).to_have_text("Sure?")
    row.get_by_role("button", name="Sure?").click()
    expect(page.locator("#toasts")).to_contain_text(f"{FLEET + 2000} is disconnected")
    # It dials again.
    expect(row).to_have_attribute("data-group", "connected")
    search(page, "")


def a_pending_device_is_approved(browser, page):
    do("stranger")
    expect(page.locator("#pending-badge")).to_have_text("1")
    page.get_by_role("link", name="Pending").click()
    card = page.locator("#pending-list .card")
    expect(card).to_contain_text(str(STRANGER))
    approve = card.get_by_role("button", name="Approve")
    # Who shows nothing is an operator here, and this wants an admin.
    expect(approve).to_have_attribute("aria-disabled", "true")
    assert "admin" in approve.get_attribute("title")

    page.locator("#who").click()
    browser.refusals = {401}
    page.locator("#token").fill("no token of this gateway")
    page.keyboard.press("Enter")
    expect(page.locator("#who-text")).to_contain_text("does not hold")
    page.locator("#token").fill(TOKEN)
    page.keyboard.press("Enter")
    expect(page.locator("#who")).to_have_text("admin")
    expect(page.locator("#live")).to_have_text("Live")
    browser.refusals = set()
    assert TOKEN not in page.url
    assert page.evaluate("localStorage.length") == 0

    expect(approve).not_to_have_attribute("aria-disabled", "true")
    approve.click()
    expect(card).to_have_count(0)
    expect(page.locator("#pending-empty")).to_be_visible()
    page.get_by_role("link", name="Fleet").click()
    search(page, str(STRANGER))
    expect(row_of(page, STRANGER)).to_have_attribute("data-group", "connected")
    search(page, "")


def the_keyboard_is_enough(page):
    page.locator("body").click(position={"x": 2, "y": 400})
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.type("20")
    page.keyboard.press("ArrowDown")
    grid = page.get_by_role("grid")
    expect(grid).to_be_focused()
    outline = grid.evaluate("(node) => getComputedStyle(node).outlineStyle")
    assert outline != "none", "who is focused is seen"
    active = lambda: page.evaluate(
        """() => document.getElementById(document.querySelector("[role=grid]")
            .getAttribute("aria-activedescendant")).querySelector("a").textContent""")
    assert active() == "2001"
    page.keyboard.press("ArrowDown")
    assert active() == "2002"
    page.keyboard.press("End")
    last = active()
    expect(row_of(page, last)).to_be_in_viewport()
    page.keyboard.press("Home")
    assert active() == "2001"
    page.keyboard.press("Enter")
    expect(page.locator(".device-head h2")).to_have_text("2001")
    page.keyboard.press("Escape")
    expect(grid).to_be_focused()
    # After the heads, which sort, comes the row's own button.
    for _ in range(COLUMNS + 1):
        page.keyboard.press("Tab")
    expect(row_of(page, 2001).get_by_role("button")).to_be_focused()
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    expect(page.locator("#search")).to_have_value("")


def resource(page, name):
    return page.locator(".resource").filter(
        has=page.locator("strong").get_by_text(name, exact=True))


def stream(page, name):
    return page.locator(".stream").filter(
        has=page.locator("strong").get_by_text(name, exact=True))


def points(page, name):
    return int(stream(page, name).get_attribute("data-points"))


def more_points(page, name, count):
    """Waits until so many more were drawn."""
    wanted = points(page, name) + count
    page.wait_for_function(
        """([name, wanted]) => [...document.querySelectorAll(".stream")].some((card) =>
            card.querySelector("strong").textContent === name && Number(card.dataset.points) >= wanted)""",
        arg=[name, wanted])


def resources_are_used(browser, page):
    page.goto(f"{BASE}/#/device/~/{DOOR}")
    relay = resource(page, "relay")
    relay.get_by_role("button", name="Input…").click()
    field = relay.locator("textarea")
    expect(field).to_have_value('{\n  "on": false\n}')
    field.fill("{on}")
    relay.get_by_role("button", name="Send").click()
    expect(relay.locator(".wrong")).to_contain_text("This is no JSON")
    field.fill('{"on": true}')
    relay.get_by_role("button", name="Send").click()
    expect(relay.locator(".answer")).to_have_attribute("data-kind", "ok")
    browser.refusals = {400}
    field.fill('{"on": 7}')
    relay.get_by_role("button", name="Send").click()
    expect(relay.locator(".answer")).to_contain_text("on is true or false")
    browser.refusals = set()
    relay.get_by_role("button", name="Input…").click()

    read = resource(page, "temperature")
    read.get_by_role("button", name="Read").click()
    expect(read.locator(".answer")).to_contain_text("celsius")
    beep = resource(page, "beep")
    beep.get_by_role("button", name="Run").click()
    expect(beep.locator(".answer")).to_have_text("done")


def markup_of_a_device_is_text(page):
    evil = resource(page, EVIL)
    expect(evil).to_be_visible()
    evil.get_by_role("button", name="Read").click()
    expect(evil.locator(".answer")).to_contain_text("</script><script>alert('1')</script>\\u001b]0;owned")
    evil.get_by_role("button", name="Stream").click()
    expect(stream(page, EVIL)).to_have_attribute("data-state", "live")
    expect(stream(page, EVIL).locator(".value")).to_contain_text("</script>")
    assert page.locator("main img, main script").count() == 0
    evil.get_by_role("button", name="Stop").click()
    evil.locator(".answer").evaluate("(node) => node.hidden = true")


def a_chart_moves(page):
    for name in ["humidity", "temperature"]:
        resource(page, name).get_by_role("button", name="Stream").click()
        stream(page, name).get_by_role("combobox").select_option("1")
    more_points(page, "temperature", 4)
    assert stream(page, "temperature").locator("canvas").count() == 1
    expect(stream(page, "temperature").locator(".legend")).to_contain_text("celsius")


def a_stream_outlives_its_device(page):
    do("drop")
    expect(stream(page, "temperature")).to_have_attribute("data-state", "waiting")
    expect(stream(page, "temperature").locator(".remarks li")).to_have_count(1)
    do("return")
    expect(stream(page, "temperature")).to_have_attribute("data-state", "live")
    more_points(page, "temperature", 6)


def the_gateway_comes_back(browser, page):
    page.goto(f"{BASE}/#/")
    before = ask("/v3/fleet")["event_number"]
    page.wait_for_function("(number) => Math.max(...shown) >= number", arg=before)
    browser.gateway_is_up = False
    do("stop")
    expect(page.locator("#banner")).to_be_visible()
    expect(page.locator("#banner-text")).to_contain_text("The gateway is lost")
    expect(page.locator("#banner-when")).to_contain_text("For ")
    expect(page.locator("#live")).to_have_text("Lost")
    # Who dialled in leaves the list at the end, and the page may be told of all of them or of some;
    # who is kept is still shown.
    expect(row_of(page, DOOR)).to_be_visible()
    do("restart")
    expect(page.locator("#live")).to_have_text("Live")
    expect(page.locator("#banner")).to_be_hidden()
    browser.gateway_is_up = True
    expect(chip(page, "connected").locator("b")).to_have_text(str(FLEET + 2))
    until = ask("/v3/fleet")["event_number"]
    page.wait_for_function("(number) => Math.max(...shown) >= number", arg=until)
    told = events(before, until)
    shown = set(page.evaluate("[...shown]"))
    missed = [number for number in told if number not in shown]
    assert told and not missed, f"{len(missed)} of {len(told)} events were missed: {missed[:9]}"


def a_phone_has_all_of_it(browser):
    page = browser.page(width=390, height=844)
    page.goto(BASE)
    expect(row_of(page, DOOR)).to_have_attribute("data-group", "connected")
    page.screenshot(path=SHOTS / "phone.png")
    for route in ["#/", "#/pending", "#/events", f"#/device/~/{DOOR}"]:
        page.goto(f"{BASE}/{route}")
        if "device" in route:
            expect(resource(page, "temperature")).to_be_visible()
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, f"{route} is {width} wide"
    browser.check(page)
    page.close()


def many_devices_are_few_rows(browser):
    page = browser.page()
    fleet = ask("/v3/fleet")
    like = fleet["devices"][0]
    fleet["devices"] = [
        {**like, "id": id, "identity": {"owner": f"owner-{id % 7}", "device": f"door-{id}"}}
        for id in range(1, MANY + 1)
    ]
    page.route("**/v3/fleet", lambda route: route.fulfill(json=fleet))
    page.goto(BASE)
    expect(page.locator("#shown")).to_contain_text("10\u202f000 devices")
    assert rows(page).count() < 60
    page.get_by_role("grid").focus()
    page.keyboard.press("End")
    expect(row_of(page, f"door-{MANY}")).to_be_visible()
    assert page.locator(".body .row").count() < 120
    for text, count in [("door-77", "111"), ("owner-3", "1\u202f429"), ("door-777 owner-0", "3")]:
        search(page, text)
        expect(page.locator("#shown")).to_have_text(f"{count} of 10\u202f000 devices")
        assert rows(page).count() < 60
    browser.check(page)
    page.close()


def the_fleet_is_of_all_kinds(browser):
    do("variety")
    page = browser.page()
    page.goto(BASE)
    expect(row_of(page, SILENT)).to_be_visible()
    expect(row_of(page, CERTIFIED).locator(".c-link")).to_have_text("tls")
    for owner, name in OWNED:
        search(page, owner)
        expect(row_of(page, name)).to_have_attribute("data-group", "connected")
        expect(row_of(page, name).locator(".c-owner")).to_have_text(owner)
    browser.check(page)
    page.close()


def picture(browser, scheme, name):
    page = browser.page(scheme)
    page.goto(BASE)
    expect(row_of(page, DOOR)).to_have_attribute("data-group", "connected")
    # Something for the feed.
    do("drop")
    do("return")
    expect(row_of(page, DOOR)).to_have_attribute("data-group", "connected")
    page.screenshot(path=SHOTS / name)
    browser.check(page)
    page.close()


def main():
    with sync_playwright() as playwright:
        browser = Browser(playwright)
        page = browser.page()
        expect.set_options(timeout=PATIENCE)
        the_fleet_appears(page)
        it_is_searched_and_sorted(page)
        a_device_drops_and_returns(page)
        a_click_disconnects(page)
        a_pending_device_is_approved(browser, page)
        the_keyboard_is_enough(page)
        resources_are_used(browser, page)
        markup_of_a_device_is_text(page)
        a_chart_moves(page)
        a_stream_outlives_its_device(page)
        page.screenshot(path=SHOTS / "device.png")
        the_gateway_comes_back(browser, page)
        browser.check(page)
        page.close()
        the_fleet_is_of_all_kinds(browser)
        a_phone_has_all_of_it(browser)
        many_devices_are_few_rows(browser)
        picture(browser, "light", "light.png")
        picture(browser, "dark", "dark.png")


main()
