"""The report in a real browser: it opens at once, asks no network, complains of nothing, and does what it says.

Needs Debian's `chromium` and `chromium-driver` (`-m browser`); without them the tests are skipped.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from made_up_data import TASKS_DIR
from report_pages import HOSTILE, Page, write_hostile_runs, write_many, write_runs

from kosmos_eval.report import write_report
from kosmos_eval.report.build import PICTURE_BYTES

pytestmark = pytest.mark.browser
webdriver = pytest.importorskip(
    "selenium.webdriver", reason="selenium is not installed: pip install 'kosmos-eval[dev]'"
)

if not (shutil.which("chromium") and shutil.which("chromedriver")):
    pytest.skip("no chromium and chromedriver here: apt-get install chromium chromium-driver", allow_module_level=True)

from selenium.webdriver.common.by import By  # noqa: E402 -- after the check that there is a selenium
from selenium.webdriver.common.keys import Keys  # noqa: E402

QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1300,900",
)  # fmt: skip
MANY = 20_000
OPENS_WITHIN = 2.0
"""Seconds of the page's processor time, which others on the machine do not lengthen."""


class Browser:
    """A headless Chromium that notes what a page asks for and complains of."""

    def __init__(self, profile: Path) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = str(shutil.which("chromium"))
        for flag in (*QUIET, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        service = webdriver.ChromeService(shutil.which("chromedriver"))
        self.driver = webdriver.Chrome(options=options, service=service)

    def send(self, command: str, **arguments: Any) -> Any:
        return self.driver.execute_cdp_cmd(command, arguments)

    def open(self, path: Path, fragment: str = "#samples") -> None:
        """Opens a page where its fragment says; without one only what is near the top is filled."""
        self.driver.get("about:blank")
        self.complaints()
        self.requests()
        self.driver.get(path.as_uri() + fragment)

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """The addresses asked for since this was last called, but for the blank page."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in asked if not url.startswith("about:")]

    def __call__(self, script: str) -> Any:
        return self.driver.execute_script(f"return {script}")

    def figures(self) -> dict[str, float]:
        return {figure["name"]: figure["value"] for figure in self.send("Performance.getMetrics")["metrics"]}

    def texts(self, selector: str) -> list[str]:
        return self(f"[...document.querySelectorAll({json.dumps(selector)})].map((node) => node.textContent)")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def choose(self, name: str, value: str) -> None:
        self(f"""(() => {{ const node = document.getElementById("filter-{name}"); node.value = {json.dumps(value)};
             node.dispatchEvent(new Event("change")); }})()""")

    def wait(self, condition: Callable[[], Any]) -> None:
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, 20).until(lambda _: condition())


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.driver.quit()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(write_runs(tmp_path_factory.mktemp("report")), tasks_dir=TASKS_DIR).path


@pytest.fixture(scope="module")
def many(path: Path) -> Path:
    return write_many(path, MANY, PICTURE_BYTES)


def test_opens_at_once_however_much_it_holds(many: Path, tmp_path: Path) -> None:
    """A fresh browser, opened by a page of the same kind first, so that both pages share a process and its clock."""
    assert many.stat().st_size > PICTURE_BYTES
    (tmp_path / "blank.html").write_text("<!doctype html>")
    fresh = Browser(tmp_path / "profile")
    try:
        fresh.driver.get((tmp_path / "blank.html").as_uri())
        fresh.send("Performance.enable", timeDomain="threadTicks")
        before = fresh.figures()
        fresh.driver.get(many.as_uri())
        after = fresh.figures()
    finally:
        fresh.driver.quit()
    spent = after["TaskDuration"] - before["TaskDuration"]
    assert after["Nodes"] > 1000, "the figures are of another page"
    assert 0 < spent < OPENS_WITHIN, spent


def test_sections_are_filled_when_they_come_near(browser: Browser, many: Path) -> None:
    filled = '[...document.querySelectorAll("#puzzles img, #memes img, #rows .row, #detail-body *")].length'
    browser.send("Emulation.setDeviceMetricsOverride", width=1300, height=300, deviceScaleFactor=1, mobile=False)
    browser.open(many, "")
    assert browser(filled) == 0
    browser('document.getElementById("samples").scrollIntoView()')
    browser.wait(lambda: browser(filled) > 100)
    browser.open(many, "")
    browser.press("5")
    assert browser(filled) > 100
    assert abs(browser('document.getElementById("memes").getBoundingClientRect().top')) < 100
    browser.send("Emulation.clearDeviceMetricsOverride")
    browser.open(many, "")
    browser.send("Page.printToPDF")
    assert browser('document.querySelectorAll("#memes img").length') > 0


def test_opens_without_a_complaint_or_a_request(browser: Browser, path: Path) -> None:
    browser.open(path)
    assert browser.complaints() == []
    assert {url.partition("#")[0] for url in browser.requests() if not url.startswith("data:")} == {path.as_uri()}
    assert browser('document.querySelectorAll("#rows .row").length') > 5
    assert browser("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")


def test_the_policy_keeps_the_page_from_any_network(browser: Browser, path: Path) -> None:
    browser.open(path)
    browser("""(() => { const image = new Image(); image.src = "http://127.0.0.1:9/x.png"; document.body.append(image);
        const script = document.createElement("script"); script.textContent = "window.pwned = 3";
        document.body.append(script); })()""")
    browser.wait(lambda: len(browser.complaints()) > 0)
    events = [json.loads(entry["message"])["message"] for entry in browser.driver.get_log("performance")]
    tried = {e["params"]["requestId"] for e in events if e["method"] == "Network.requestWillBeSent"
             and e["params"]["request"]["url"].startswith("http")}  # fmt: skip
    failed = {e["params"]["requestId"]: e["params"].get("blockedReason") for e in events
              if e["method"] == "Network.loadingFailed"}  # fmt: skip
    assert tried
    assert {failed.get(request) for request in tried} == {"csp"}
    assert browser("window.pwned") is None


def test_twenty_thousand_samples_open_at_once_and_only_those_in_sight_are_there(browser: Browser, many: Path) -> None:
    browser.open(many)
    assert browser.complaints() == []
    assert browser.texts("#found") == [f"{MANY:,} of {MANY:,} samples"]
    assert browser('document.querySelectorAll("#rows .row").length') < 60
    browser('document.getElementById("rows").scrollTo(0, 1e9)')
    browser.wait(lambda: browser.texts("#rows .row .id")[-1:] == [f"s{MANY - 1}"])
    assert browser('document.querySelectorAll("#rows .row").length') < 60
    browser.driver.find_element(By.ID, "search").send_keys("colour, 12345?")
    browser.wait(lambda: browser.texts("#found") == [f"1 of {MANY:,} samples"])
    assert browser.texts("#rows .row .id") == ["s12345"]


def test_filters_find_the_flips(browser: Browser, path: Path) -> None:
    payload = Page(path).json("payload")
    standard_wrong = [row for row in payload["rows"] if [mark[0] for mark in row[2]] == ["wrong", "right"]]
    assert standard_wrong
    browser.open(path)
    browser.choose("outcome", "gain-1")
    assert browser.texts("#found") == [f"{len(standard_wrong)} of {len(payload['rows'])} samples"]
    assert {tuple(t) for t in browser('[...document.querySelectorAll("#rows .row")].map((r) => '
            '[...r.querySelectorAll(".mark")].map((m) => m.textContent))')} == {("✗", "✓")}  # fmt: skip
    browser.choose("task", "raven_iq")
    of_task = [row for row in standard_wrong if payload["settings"][row[0]]["task"] == "raven_iq"]
    assert browser.texts("#found") == [f"{len(of_task)} of {len(payload['rows'])} samples"]


def test_a_sample_shows_its_demonstrations_answers_and_rationale(browser: Browser, path: Path) -> None:
    payload = Page(path).json("payload")
    r = next(n for n, row in enumerate(payload["rows"]) if payload["settings"][row[0]]["shots"] == 2)
    browser.open(path, f"#sample-{r}")
    assert browser("document.getElementById('detail').classList.contains('open')")
    assert len(browser.texts("#detail .demo")) == 4
    assert browser('document.querySelectorAll("#detail .demo img").length') == 4
    _, standard, mcot = payload["rows"][r], *(payload["answers"][a] for a in payload["rows"][r][3])
    assert browser.texts("#detail .written p") == [mcot[2][0][1].strip()]
    shares = [float(text.rstrip(" %")) for text in browser.texts("#detail .share")]
    assert sum(shares[:2]) == pytest.approx(100, abs=0.2)
    assert [i for i, _ in payload["contexts"][standard[4]]] == [
        text.partition(": ")[2] for text in browser.texts("#detail .answer:first-child .demo .label")
    ]
    assert "as asked (hash checked)" in browser.texts("#detail summary")[0]


def test_the_keyboard_goes_everywhere(browser: Browser, path: Path) -> None:
    browser.open(path, "")
    browser.press("j", "j", "k", "j")
    assert browser.texts("#position")[0].startswith("3 of ")
    browser.press("/")
    browser.press("test/7")
    browser.wait(lambda: browser.texts("#found")[0].startswith("2 of"))
    browser.press(Keys.ESCAPE)
    browser.press("x")
    assert browser.texts("#found")[0].startswith("34 of")
    browser.press("f")
    assert browser('document.getElementById("filter-outcome").value') == "right"
    browser.press("?")
    assert browser('document.getElementById("help").open')
    browser.press(Keys.ESCAPE)
    assert not browser('document.getElementById("help").open')
    before = browser("getComputedStyle(document.body).backgroundColor")
    browser.press("t")
    assert browser("getComputedStyle(document.body).backgroundColor") != before


def test_memes_are_hidden_until_they_are_asked_for(browser: Browser, path: Path) -> None:
    browser.open(path)
    hidden = 'document.querySelectorAll("#memes .veil").length'
    assert browser(hidden) == 4
    assert "blur" in browser('getComputedStyle(document.querySelector("#memes .veiled")).filter')
    browser.choose("task", "hateful_memes")
    assert browser('[...document.querySelectorAll("#rows .row .thumb")].every((n) => n.classList.contains("blurred"))')
    sides = 'document.querySelectorAll("#detail .veil").length'
    assert browser(sides) > 3
    assert browser('document.querySelectorAll("#detail img").length') == browser(
        'document.querySelectorAll("#detail .veil img").length'
    )
    browser.driver.execute_script("arguments[0].click()", browser.driver.find_element(By.CSS_SELECTOR, "#memes .veil"))
    assert browser(hidden) == 3
    browser.press("v")
    assert browser(sides) == 0
    browser.send("Emulation.setEmulatedMedia", media="print")
    assert browser('getComputedStyle(document.querySelector("#memes .veiled")).visibility') == "hidden"
    browser.send("Emulation.setEmulatedMedia", media="")


def test_hostile_texts_are_shown_and_do_nothing(browser: Browser, tmp_path: Path) -> None:
    browser.open(write_report(write_hostile_runs(tmp_path), tasks_dir=TASKS_DIR).path)
    assert browser.complaints() == []
    for _ in HOSTILE:
        browser.press("j")
    assert set(browser.texts("#rows .excerpt")) == set(HOSTILE)
    assert browser("window.pwned") is None
    assert browser("[...document.images].every((image) => image.src.startsWith('data:'))")
    assert browser("document.documentElement.scrollWidth <= window.innerWidth")
    assert browser.complaints() == []


def test_a_phone_scrolls_one_way(browser: Browser, path: Path) -> None:
    browser.send("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=2, mobile=True)
    browser.open(path)
    assert browser("document.documentElement.scrollWidth") == 390
    browser.driver.find_element(By.CSS_SELECTOR, "#rows .row").click()
    box = browser("(({ top, width, height }) => [top, width, height])"
                  "(document.getElementById('detail').getBoundingClientRect())")  # fmt: skip
    assert box == [0, 390, 844]
    browser.driver.find_element(By.ID, "close").click()
    assert browser("getComputedStyle(document.getElementById('detail')).display") == "none"
    browser.send("Emulation.clearDeviceMetricsOverride")
