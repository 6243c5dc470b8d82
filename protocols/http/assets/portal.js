// What a folder's page does beyond HTML: uploads with their progress, and times as the reader's clock shows them.

const zone = document.getElementById("upload");
const list = document.getElementById("uploads");
const status = document.getElementById("upload-status");
const queue = [];
let busy = false;

zone.hidden = false;
localTimes();

document.getElementById("upload-files").addEventListener("change", (event) => {
  add(event.target.files);
  event.target.value = "";
});

// Files may be dropped anywhere: a browser would leave the page otherwise.
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    zone.classList.add("over");
  });
}
document.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) zone.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  event.preventDefault();
  zone.classList.remove("over");
  add(event.dataTransfer.files);
});

window.addEventListener("beforeunload", (event) => {
  if (busy) event.preventDefault();
});

function add(files) {
  for (const file of files) queue.push({ file, row: row(file) });
  if (!busy) work();
}

/** One line of the list: the name, what became of it, and its bar. */
function row(file) {
  const item = document.createElement("li");
  const label = element("span", "label", file.name);
  const state = element("span", "state", "Waiting");
  const bar = document.createElement("progress");
  bar.max = 100;
  bar.value = 0;
  bar.setAttribute("aria-label", `Progress of ${file.name}`);
  item.append(label, state, bar);
  list.append(item);
  return { item, state, bar };
}

function element(name, kind, text) {
  const made = document.createElement(name);
  made.className = kind;
  made.textContent = text;
  return made;
}

/** One file after another: together they would only share the same line. */
async function work() {
  busy = true;
  let done = 0;
  let failed = 0;
  while (queue.length > 0) {
    const { file, row } = queue.shift();
    status.textContent = `Uploading ${file.name}`;
    const error = await upload(file, row);
    if (error === "") done += 1;
    else failed += 1;
    row.item.classList.toggle("failed", error !== "");
    if (error !== "") row.bar.value = 0;
    row.state.textContent = error === "" ? "Done" : error;
    if (error !== "") status.textContent = `${file.name}: ${error}`;
  }
  busy = false;
  status.textContent = `${done} uploaded` + (failed > 0 ? `, ${failed} failed` : "");
  if (done > 0) await refresh();
}

/** Uploads a file and asks before it replaces another; the message when it did not work. */
async function upload(file, row) {
  let answer = await send(file, row, { "If-None-Match": "*" });
  if (answer.status === 412) {
    if (!confirm(`${file.name} exists already. Replace it?`)) return "Kept the one that was there";
    answer = await send(file, row, {});
  }
  if (answer.status >= 200 && answer.status < 300) return "";
  return answer.text.trim() || "The connection broke off";
}

/** XMLHttpRequest, since fetch does not tell how much of a body has gone out. */
function send(file, row, fields) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("PUT", zone.dataset.target + encodeURIComponent(file.name));
    request.setRequestHeader("X-CSRF-Token", zone.dataset.csrf);
    request.setRequestHeader("X-OC-Mtime", String(Math.floor(file.lastModified / 1000)));
    request.setRequestHeader("Content-Type", "application/octet-stream");
    for (const [name, value] of Object.entries(fields)) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (event) => {
      if (!event.lengthComputable || event.total === 0) return;
      // The last hundredth is the answer: only then is the file stored.
      const percent = Math.min(99, Math.floor((event.loaded / event.total) * 100));
      row.bar.value = percent;
      row.state.textContent = percent === 99 ? "Storing" : `${percent} %`;
    });
    request.addEventListener("load", () => {
      if (request.status < 300) row.bar.value = 100;
      resolve({ status: request.status, text: request.responseText });
    });
    request.addEventListener("error", () => resolve({ status: 0, text: "" }));
    request.addEventListener("abort", () => resolve({ status: 0, text: "" }));
    request.send(file);
  });
}

/** Fetches the list of files anew and leaves the rest of the page alone. */
async function refresh() {
  const answer = await fetch(location.href);
  if (!answer.ok || answer.redirected) return location.reload();
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  document.getElementById("listing").replaceWith(page.getElementById("listing"));
  document.querySelector(".used").replaceWith(page.querySelector(".used"));
  localTimes();
}

function localTimes() {
  const style = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  for (const time of document.querySelectorAll("time")) time.textContent = style.format(new Date(time.dateTime));
}
