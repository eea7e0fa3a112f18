// The shift of an operator in a real browser: from the login over a failed import to a stopped wave and back, by mouse, by keyboard alone and
// without scripts; every page judged by axe-core in both themes, watched for reports of the content policy, and pictured.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import assert from "node:assert/strict";

const require = createRequire(import.meta.url);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const { PAGES_URL: url, PAGES_ADMIN: admin, PAGES_READER: reader, PAGES_LINK: link, PAGES_PICTURES: pictures } = process.env;

const PAGES = ["now", "fleet", "device?device=acme%2Fgateway%2FSN-000000&snap=hello", "snaps", "snap?name=core24", "imports", "rollouts", "trains",
  "registrations", "approvals", "misses", "keys", "audit", "settings"];
const WIDTHS = { wide: 1280, narrow: 360 };
const wrong = [];
const counts = { pages: 0, rules: 0, pictures: 0, steps: 0 };

const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });

// A browser window whose every complaint is remembered.
async function open(options = {}) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1280, height: 900 }, ...options });
  context.setDefaultTimeout(120_000);
  const page = await context.newPage();
  page.complaints = [];
  page.on("dialog", (dialog) => { page.complaints.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on("pageerror", (error) => page.complaints.push(`error: ${error}`));
  page.on("console", (message) => { if (message.type() === "error") page.complaints.push(message.text()); });
  page.on("request", (request) => { if (!request.url().startsWith(url) && !request.url().startsWith("data:")) page.complaints.push(`foreign: ${request.url()}`); });
  return page;
}

async function logIn(page, token) {
  await page.goto(`${url}/pages/now`);
  await page.getByLabel("Service login").fill(token);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("heading", { level: 1, name: "Now" }).waitFor();
}

async function violations(page) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  counts.rules += found.passes.length;
  return found.violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.target.join(" ")).slice(0, 3).join("; ")} ${one.nodes[0].failureSummary}`);
}

// What each check looks for is planted once, so that it is known to see it.
async function checksSee() {
  const page = await open();
  await logIn(page, reader);
  await page.goto(`${url}/pages/fleet`);
  await page.evaluate(() => document.querySelector("label[for=serial]").remove());
  assert.notDeepEqual(await violations(page), [], "axe sees a field without a label");
  await page.evaluate(() => { document.body.insertAdjacentHTML("beforeend", "<p style='color:red'>x</p>"); });
  await page.evaluate(() => { document.body.insertAdjacentHTML("beforeend", "<img src='https://elsewhere.example/x.png'>"); });
  await page.waitForTimeout(300);
  assert(page.complaints.some((text) => text.includes("style")), `an inline style is reported: ${page.complaints}`);
  assert(page.complaints.some((text) => text.includes("elsewhere")), "a foreign host is reported");
  await page.evaluate(() => alert("planted"));
  assert(page.complaints.some((text) => text.includes("dialog: planted")), "a dialog is seen");
  await page.setViewportSize({ width: 360, height: 800 });
  await page.evaluate(() => { document.querySelector("main").insertAdjacentHTML("beforeend", `<svg width="900" height="5"></svg>`); });
  assert(await tooWide(page), "what is too wide is seen");
  await page.context().close();
  counts.steps += 5;
}

const tooWide = (page) => page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);

async function lookAtAll() {
  for (const theme of ["light", "dark"]) {
    for (const [name, width] of Object.entries(WIDTHS)) {
      const page = await open({ colorScheme: theme, viewport: { width, height: 900 }, reducedMotion: "reduce" });
      await page.goto(`${url}/pages/login`);
      await judge(page, "login", theme, name);
      await logIn(page, admin);
      await page.goto(`${url}/pages/imports`);
      const waiting = await page.getByRole("region", { name: "Waiting for approval" }).getByRole("link").first().getAttribute("href");
      for (const place of [...PAGES, waiting.replace("/pages/", "")]) {
        await page.goto(`${url}/pages/${place}`);
        await judge(page, place.split("?")[0], theme, name);
      }
      await page.goto(`${url}/pages/nowhere`);
      page.complaints = page.complaints.filter((text) => !text.includes("404"));
      await judge(page, "trouble", theme, name);
      await page.context().close();
    }
  }
}

async function judge(page, name, theme, width) {
  if (theme === "dark") await page.evaluate(() => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
  const found = [...await violations(page), ...page.complaints.splice(0)];
  const twice = await page.evaluate(() => [...document.querySelectorAll("[id]")].map((one) => one.id).filter((id, at, all) => all.indexOf(id) !== at));
  found.push(...twice.map((id) => `two elements are called ${id}`));
  if (await tooWide(page)) found.push("wider than the screen");
  wrong.push(...found.map((text) => `${name} ${width} ${theme}: ${text}`));
  counts.pages += 1;
  if (pictures) {
    await page.screenshot({ path: `${pictures}/${name}-${width}-${theme}.png`, fullPage: true });
    counts.pictures += 1;
  }
}

// The shift, with a way of pressing things.
async function shift(page, press, how) {
  await press(page.getByRole("link", { name: "Imports", exact: true }));
  await page.getByText("refused").first().waitFor();
  await press(page.getByRole("link", { name: "Rollouts", exact: true }));
  const spring = page.locator("#spring");
  await spring.getByText("paused", { exact: true }).waitFor();
  await press(spring.getByRole("button", { name: "Resume" }));
  await page.getByText("The rollout goes on.").waitFor();
  await spring.getByText("running", { exact: true }).waitFor();
  await press(spring.getByRole("button", { name: "Pause" }));
  await page.getByText("The rollout is paused").waitFor();
  await press(page.getByRole("link", { name: "Approvals", exact: true }));
  await press(page.getByRole("region", { name: /^rollout / }).getByRole("button", { name: "Approve" }).first());
  await page.getByText("Your approval counts.").waitFor();
  await press(page.getByRole("link", { name: "Trains", exact: true }));
  await press(page.getByRole("button", { name: "Open the next wave now" }));
  await page.getByText("The next step is taken.").waitFor();
  await press(page.getByRole("link", { name: "Imports", exact: true }));
  await press(page.getByRole("button", { name: "Begin" }));
  await page.getByText(/The import has begun|There is no such file/).waitFor();
  await press(page.getByRole("link", { name: "Now", exact: true }));
  await page.getByText("spring").first().waitFor();
  assert.deepEqual(page.complaints, [], how);
  counts.steps += 12;
}

const byMouse = (what) => what.click();

// Nothing but the keyboard: Tab until it has the focus, and Enter.
async function byKeyboard(what) {
  const page = what.page();
  await what.waitFor();
  for (let presses = 0; presses < 200; presses += 1) {
    await page.keyboard.press("Tab");
    if (await what.evaluate((element) => element === document.activeElement)) {
      const seen = await what.evaluate((element) => getComputedStyle(element).outlineStyle);
      assert.notEqual(seen, "none", "the focus is seen");
      await page.keyboard.press("Enter");
      return;
    }
  }
  assert.fail(`no way by keyboard to ${what}`);
}

async function live() {
  const watcher = await open();
  await watcher.clock.install();
  await logIn(watcher, reader);
  await watcher.goto(`${url}/pages/rollouts`);
  const actor = await open({ javaScriptEnabled: false });
  await logIn(actor, admin);
  await actor.goto(`${url}/pages/rollouts`);
  await actor.locator("#spring").getByRole("button", { name: "Resume" }).click();
  await watcher.locator("#spring").getByText("running", { exact: true }).waitFor({ timeout: 60000 });
  await actor.locator("#spring").getByRole("button", { name: "Pause" }).click();
  await watcher.locator("#spring").getByText("paused", { exact: true }).waitFor({ timeout: 60000 });
  assert.deepEqual(watcher.complaints, [], "live");
  // What somebody has opened stays open.
  const plots = await open();
  await logIn(plots, reader);
  await plots.getByText("As a table").first().click();
  for (const [name, state] of [["Resume", "running"], ["Pause", "paused"]]) {
    await actor.locator("#spring").getByRole("button", { name }).click();
    await plots.locator("#waves + ul").getByText(state, { exact: true }).waitFor({ timeout: 60000 });
    assert.equal(await plots.locator("details[open]").count(), 1, "what was opened stays open");
  }
  await plots.context().close();
  // Without a server the page says so.
  await watcher.context().setOffline(true);
  await watcher.route("**/*", (route) => route.abort());
  await watcher.evaluate(() => { window.dispatchEvent(new Event("offline")); });
  await watcher.clock.fastForward(70_000);
  await watcher.clock.fastForward(20_000);
  await watcher.getByText("may be out of date").waitFor({ timeout: 15000 });
  await watcher.context().close();
  await actor.context().close();
  counts.steps += 5;
}

// Changes that come while the page is being fetched: it ends with the newest.
async function quick() {
  const watcher = await open();
  await watcher.addInitScript(() => {
    window.heard = 0;
    window.EventSource = class extends EventSource {
      constructor(...from) {
        super(...from);
        this.addEventListener("changed", () => { window.heard += 1; });
      }
    };
  });
  await logIn(watcher, reader);
  await watcher.goto(`${url}/pages/rollouts`);
  let answer;
  const answered = new Promise((resolve) => { answer = resolve; });
  let first = true;
  let begun;
  const fetched = new Promise((resolve) => { begun = resolve; });
  await watcher.route("**/pages/rollouts", async (route) => {
    if (!first) return route.continue();
    first = false;
    const response = await route.fetch();
    begun();
    await answered;
    return route.fulfill({ response });
  });
  const actor = await open({ javaScriptEnabled: false });
  await logIn(actor, admin);
  await actor.goto(`${url}/pages/rollouts`);
  await actor.locator("#spring").getByRole("button", { name: "Resume" }).click();
  await fetched;
  await actor.locator("#spring").getByRole("button", { name: "Pause" }).click();
  await watcher.waitForFunction(() => window.heard >= 2);
  answer();
  await watcher.locator("#spring").getByText("running", { exact: true }).waitFor();
  await watcher.locator("#spring").getByText("paused", { exact: true }).waitFor({ timeout: 10000 });
  assert.deepEqual(watcher.complaints, [], "quick");
  for (const one of [watcher, actor]) await one.context().close();
  counts.steps += 3;
}

// An import that waits: somebody else looks at what it changes, approves it, and lets devices see it.
async function quarantine() {
  const page = await open({ javaScriptEnabled: false });
  await logIn(page, admin);
  await page.getByRole("link", { name: "Imports", exact: true }).click();
  await page.getByRole("region", { name: "Waiting for approval" }).getByRole("link").first().click();
  await page.getByText("system-files").first().waitFor();
  await page.getByRole("button", { name: "Approve" }).click();
  await page.getByText("Your approval counts.").waitFor();
  await page.getByRole("button", { name: "Let devices see it" }).click();
  await page.getByText("Devices see the import from now on.").waitFor();
  assert.deepEqual(page.complaints, [], "quarantine");
  await page.context().close();
  counts.steps += 4;
}

async function byLink() {
  const page = await open();
  await page.goto(`${url}/pages/open/${link}`);
  await page.getByRole("button", { name: "Open the pages" }).click();
  await page.getByRole("heading", { level: 1, name: "Now" }).waitFor();
  const again = await open();
  await again.goto(`${url}/pages/open/${link}`);
  await again.getByRole("button", { name: "Open the pages" }).click();
  await again.getByText("This link was used already").waitFor();
  // A page of another site: its form is refused, and it cannot frame ours.
  const evil = await open();
  await evil.route("https://evil.example/", (route) => route.fulfill({ contentType: "text/html",
    body: `<form method=post action="${url}/pages/logout"><button>x</button></form><iframe src="${url}/pages/login"></iframe>` }));
  await evil.goto("https://evil.example/");
  await evil.waitForTimeout(500);
  const framed = evil.frames().find((frame) => frame !== evil.mainFrame());
  assert(!framed || !(await framed.content().catch(() => "")).includes("Service login"), "a frame shows nothing");
  await evil.getByRole("button").click();
  await evil.getByText("nothing was done").waitFor();
  for (const one of [page, again, evil]) await one.context().close();
  counts.steps += 4;
}

try {
  await checksSee();
  await byLink();
  for (const [how, press, options] of [["mouse", byMouse, {}], ["keyboard", byKeyboard, {}], ["no scripts", byMouse, { javaScriptEnabled: false }]]) {
    const page = await open(options);
    await logIn(page, admin);
    await shift(page, press, how);
    await page.context().close();
  }
  await live();
  await quick();
  await lookAtAll();
  await quarantine();
  assert.deepEqual(wrong, []);
  console.log(`${counts.pages} pages judged: 0 violations (${counts.rules} rules passed), 0 reports; ${counts.steps} steps; ${counts.pictures} pictures`);
} finally {
  await browser.close();
}
