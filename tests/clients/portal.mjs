// A browser at the portal: logs in, uploads 50 MB with a moving progress bar, downloads it, deletes it, logs out.
//
//   node portal.mjs BASE-URL USER PASSWORD [CHROMIUM]
//
// playwright-core is looked for in the current folder and in NODE_PATH. One line for each step; the exit code is 1
// when one fails. SHOTS=FOLDER also takes pictures of the pages.

import { createHash, randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const { chromium } = createRequire(join(process.cwd(), "portal.mjs"))("playwright-core");
const [base, user, password, browserPath = "/usr/bin/chromium"] = process.argv.slice(2);
if (!password) {
  console.error("usage: portal.mjs BASE-URL USER PASSWORD [CHROMIUM]");
  process.exit(2);
}

const SIZE = 50_000_000;
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];
const folder = await mkdtemp(join(tmpdir(), "portal-"));
const name = `portal test ${process.pid}.bin`;
let browser;
let page;

try {
  browser = await chromium.launch({ executablePath: browserPath, headless: true, args: FLAGS });
  page = await (await browser.newContext({ ignoreHTTPSErrors: true, acceptDownloads: true })).newPage();
  const complaints = [];
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));

  await step("a wrong password is refused in words", async () => {
    await page.goto(new URL("/", base).href);
    await shot("login");
    await logIn("not the password");
    await page.getByRole("alert").waitFor();
    complaints.length = 0; // the browser itself tells of the 403
  });

  await step("log in", async () => {
    await logIn(password);
    await page.waitForURL("**/files/");
    const cookies = await page.context().cookies();
    const cookie = cookies.find(({ name }) => name === "__Host-wharfinger");
    check(cookie?.secure && cookie.httpOnly && cookie.sameSite === "Lax", "the cookie is Secure, HttpOnly and Lax");
  });

  const bytes = randomBytes(SIZE);
  const sent = join(folder, name);
  await writeFile(sent, bytes);
  const sum = createHash("sha256").update(bytes).digest("hex");

  await step("upload 50 MB with a moving progress bar", async () => {
    await page.evaluate(watchProgress);
    await limitUpload(20_000_000);
    await page.getByLabel("Choose files").setInputFiles(sent);
    await page.locator("#uploads li .state", { hasText: "Done" }).waitFor({ timeout: 120_000 });
    await limitUpload(-1);
    const seen = await page.evaluate(() => globalThis.seenProgress);
    const moving = seen.filter((value) => value > 0 && value < 100);
    check(moving.length >= 3, `the bar moves (it showed ${seen.join(", ")})`);
    check(seen.every((value, at) => at === 0 || value >= seen[at - 1]), "the bar never goes back");
    return `${moving.length} values between 0 and 100`;
  });

  await step("the file is listed", async () => {
    await page.getByRole("link", { name, exact: true }).waitFor();
    await page.getByRole("row", { name }).getByText("47.7 MiB").waitFor();
    await shot("files");
  });

  await step("download it, and it is the same", async () => {
    const coming = page.waitForEvent("download");
    await page.getByRole("link", { name: `Download ${name}` }).click();
    const download = await coming;
    check(download.suggestedFilename() === name, `the name stays (it became ${download.suggestedFilename()})`);
    check((await sha256(await download.path())) === sum, "the sha256 is the same");
    return sum.slice(0, 16);
  });

  await step("delete it", async () => {
    await page.getByRole("link", { name: `Delete ${name}` }).click();
    await shot("delete");
    await page.getByRole("button", { name: "Delete" }).click();
    await page.waitForURL("**/files/");
    check((await page.getByRole("link", { name, exact: true }).count()) === 0, "it is gone from the list");
  });

  await step("log out", async () => {
    await page.getByRole("button", { name: "Log out" }).click();
    await page.getByLabel("Password").waitFor();
    await page.goto(new URL("/files/", base).href);
    check(new URL(page.url()).pathname === "/", "the files are not shown any more");
  });

  await step("nothing in the console", async () => {
    check(complaints.length === 0, complaints.join("; "));
  });
} catch (error) {
  if (page) await shot("failure").catch(() => {});
  console.log(`FAIL ${error.message}`);
  process.exitCode = 1;
} finally {
  await browser?.close();
  await rm(folder, { recursive: true, force: true });
}

async function step(what, work) {
  try {
    const more = await work();
    console.log(`ok   ${what}${more ? `: ${more}` : ""}`);
  } catch (error) {
    throw new Error(`${what}: ${error.message}`);
  }
}

function check(holds, what) {
  if (!holds) throw new Error(`not true: ${what}`);
}

async function logIn(secret) {
  await page.getByLabel("Name").fill(user);
  await page.getByLabel("Password").fill(secret);
  await page.getByRole("button", { name: "Log in" }).click();
}

/** A line of so many bytes a second; the loopback is over before a browser has looked at its clock twice. */
async function limitUpload(uploadThroughput) {
  const network = await page.context().newCDPSession(page);
  const conditions = { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput };
  await network.send("Network.emulateNetworkConditions", conditions);
}

/** Runs in the page: keeps every value that a progress bar takes. */
function watchProgress() {
  globalThis.seenProgress = [];
  const note = () => {
    const bar = document.querySelector("#uploads progress");
    if (bar && globalThis.seenProgress.at(-1) !== bar.value) globalThis.seenProgress.push(bar.value);
  };
  const uploads = document.getElementById("uploads");
  new MutationObserver(note).observe(uploads, { subtree: true, childList: true, attributes: true });
}

async function sha256(path) {
  const hash = createHash("sha256");
  for await (const piece of createReadStream(path)) hash.update(piece);
  return hash.digest("hex");
}

async function shot(what) {
  if (process.env.SHOTS) await page.screenshot({ path: join(process.env.SHOTS, `${what}.png`) });
}
