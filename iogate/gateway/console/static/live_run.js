// Live updates of the page of a run: entries of its journal as they come, without a gap or a duplicate.
// Text from the stream becomes text nodes only. When the run has ended, the page loads again. A hidden page has no
// stream: with HTTP/1.1 a browser has six connections for all pages of a gateway.

const panel = document.getElementById("tasks");
const entries = document.getElementById("entries");
const live = document.getElementById("live");
const rows = panel.querySelector("tbody");
const created = Number(panel.dataset.created);
const behind = Date.now() - Number(panel.dataset.now); // of the clock of the store, compared with ours
const STATUS = { started: "running", restarted: "running", waiting: "waiting", completed: "completed", faulted: "faulted",
  cancelled: "cancelled", skipped: "skipped" };
const OVER = ["completed", "faulted", "cancelled", "skipped"];
const TONE = { faulted: "k-bad", interrupted: "k-bad", retried: "k-bad", restarted: "k-bad", completed: "k-good",
  waiting: "k-wait", suspended: "k-wait" };
const NICE = [1, 1.5, 2, 2.5, 3, 4, 5, 6, 7.5, 8, 10];
const UNSEEN = ["task.created", "task.recorded"];
const MOST_ROWS = 200, MOST_ENTRIES = 500; // a page that is watched for hours stays small
let last = Number(panel.dataset.last);
let axis = Number(panel.dataset.axis);
let source, retry = 0, pause = 500;

const now = () => Math.max(0, Date.now() - behind - created);

function duration(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  const seconds = ms / 1000;
  if (seconds < 59.95) return seconds < 10 ? `${seconds.toFixed(2)} s` : `${seconds.toFixed(1)} s`;
  const two = (count, size, large, small) =>
    `${Math.floor(count / size)} ${large}` + (count % size ? ` ${count % size} ${small}` : "");
  const whole = Math.round(seconds);
  if (whole < 3600) return two(whole, 60, "min", "s");
  return whole < 86400 ? two(Math.floor(whole / 60), 60, "h", "min") : two(Math.floor(whole / 3600), 24, "d", "h");
}

function niceAxis(length) {
  const quarter = Math.max(1, length / 4);
  const [unit] = [[1, 1000], [1000, 60_000], [60_000, 3_600_000], [3_600_000, Infinity]].find(([, limit]) => quarter <= limit);
  const steps = quarter / unit;
  const power = 10 ** Math.floor(Math.log10(Math.max(steps, 1)));
  return Math.ceil(NICE.find((each) => each * power >= steps - 1e-9) * power * unit) * 4;
}

function place(bar, until) {
  const start = Number(bar.dataset.s);
  const end = "e" in bar.dataset ? Number(bar.dataset.e) : until;
  bar.setAttribute("x", `${(100 * start) / axis}%`);
  bar.setAttribute("width", `${Math.max(0.1, (100 * Math.max(0, end - start)) / axis)}%`);
}

function draw() {
  const until = now();
  const wanted = niceAxis(until);
  if (wanted > axis) {
    axis = wanted;
    document.querySelectorAll("#axis span").forEach((tick, part) => {
      tick.textContent = part ? duration((axis * part) / 4) : "0";
    });
    for (const bar of rows.querySelectorAll("rect")) place(bar, until);
  } else {
    for (const bar of rows.querySelectorAll("rect:not([data-e])")) place(bar, until);
  }
}

function row(reference, name) {
  const found = rows.querySelector(`tr[data-ref="${CSS.escape(reference)}"]`);
  if (found || !reference) return found;
  const made = document.getElementById("task-row").content.firstElementChild.cloneNode(true);
  made.dataset.ref = reference;
  made.id = "task" + reference.replace(/[^A-Za-z0-9]/g, "-");
  made.querySelector("b").textContent = name;
  made.querySelector("code").textContent = reference;
  let depth = 0;
  for (const other of rows.querySelectorAll("tr[data-ref]")) {
    if (!reference.startsWith(other.dataset.ref + "/")) continue;
    depth += 1;
    for (const bar of other.querySelectorAll(".b-live")) bar.setAttribute("class", "b-group");
  }
  made.querySelector(".task").classList.add(`d${Math.min(depth, 6)}`);
  made.querySelector("svg").replaceChildren();
  rows.append(made);
  document.getElementById("no-tasks")?.remove();
  trimRows();
  return made;
}

// Remove the oldest tasks that are over, without one around a task that stays.
function trimRows() {
  const all = [...rows.querySelectorAll("tr[data-ref]")];
  for (let over = all.length - MOST_ROWS, at = 0; over > 0 && at < all.length - 1; at += 1) {
    const { ref } = all[at].dataset;
    if (!all[at].querySelector(".st.completed, .st.skipped, .st.cancelled")) continue;
    if (all.some((other) => other.isConnected && other.dataset.ref.startsWith(ref + "/"))) continue;
    all[at].remove();
    over -= 1;
    document.getElementById("more-tasks")?.removeAttribute("hidden");
  }
}

function open(task, kind, at) {
  close(task, at, "b-run");
  const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  bar.setAttribute("class", kind);
  for (const [name, value] of [["y", 4], ["height", 9], ["rx", 2]]) bar.setAttribute(name, value);
  bar.dataset.s = at;
  task.querySelector("svg").append(bar);
  place(bar, now());
}

function close(task, at, kind) {
  const bar = task.querySelector("rect:not([data-e])");
  if (!bar) return;
  bar.dataset.e = at;
  if (bar.getAttribute("class") === "b-live") bar.setAttribute("class", kind);
  place(bar, at);
}

function advance(kind, entry, at) {
  const task = row(entry.reference, entry.name);
  if (!task) return;
  if (kind === "started" || kind === "restarted") {
    for (const around of rows.querySelectorAll("tr[data-ref]")) {
      const retrying = around.querySelector(".b-retry:not([data-e])");
      if (retrying && entry.reference.startsWith(around.dataset.ref + "/")) open(around, "b-group", at);
    }
    open(task, "b-live", at);
  } else if (kind === "waiting" || kind === "retried") {
    open(task, kind === "waiting" ? "b-wait" : "b-retry", at);
  } else if (OVER.includes(kind)) {
    close(task, at, { completed: "b-ok", faulted: "b-bad" }[kind] || "b-off");
    const first = task.querySelector("rect");
    if (first) task.lastElementChild.textContent = duration(at - Number(first.dataset.s));
  }
  if (STATUS[kind]) {
    const label = task.querySelector(".task");
    label.className = label.className.replace(/\bst \S+/, `st ${STATUS[kind]}`);
  }
}

function setStatus(word) {
  const badge = document.querySelector("#status .st");
  badge.className = `st big ${word}`;
  badge.textContent = word;
}

function text(kind, detail) {
  if (!detail) return "";
  if (kind === "process.output") return `${detail.stream} | ${String(detail.text).trimEnd()}`;
  const { error, ...rest } = detail;
  const parts = Object.entries(rest).map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`);
  if (error && typeof error === "object") parts.unshift(error.detail || error.title || error.type || "");
  return parts.join("; ").slice(0, 2000);
}

function note(number, entry, at) {
  const made = document.getElementById("entry-row").content.firstElementChild.cloneNode(true);
  const [time, kind, rest] = made.children;
  made.id = `e${number}`;
  time.textContent = `+${duration(at)}`;
  time.title = entry.at;
  kind.textContent = entry.kind;
  kind.className = entry.kind === "workflow.retried" ? "" : TONE[entry.kind.split(".").pop()] || "";
  const code = document.createElement("code");
  code.textContent = entry.reference || "";
  const detail = document.createElement("span");
  detail.className = entry.kind === "process.output" ? "mono" : "soft";
  detail.textContent = text(entry.kind, entry.detail);
  rest.replaceChildren(code, " ", detail);
  entries.append(made);
  if (entries.rows.length > MOST_ENTRIES && !location.search.includes("journal=all")) {
    entries.deleteRow(0);
    document.getElementById("more-entries")?.removeAttribute("hidden");
  }
}

function receive(event) {
  const number = Number(event.lastEventId);
  if (!(number > last)) return;
  if (number > last + 1 && last) return location.reload(); // the journal has dropped entries meanwhile
  last = number;
  pause = 500;
  const entry = JSON.parse(event.data);
  const at = Math.max(0, Date.parse(entry.at) - created);
  const [scope, kind] = entry.kind.split(".");
  if (!UNSEEN.includes(entry.kind)) note(number, entry, at);
  if (scope === "task") advance(kind, entry, at);
  else if (scope === "workflow") {
    if (["started", "resumed", "retried"].includes(kind)) setStatus("running");
    else if (kind === "suspended") setStatus("suspended");
  }
  draw();
}

function finish(event) {
  event.target.close();
  clearInterval(timer);
  const status = JSON.parse(event.data).status;
  // A reason that somebody is writing would be lost.
  if (!document.querySelector("details.action[open]")) return location.reload();
  setStatus(status);
  live.className = "note";
  live.textContent = `The run is ${status}. Reload the page to see its result.`;
}

function reconnecting() {
  live.hidden = false;
  live.className = "live lost";
  live.textContent = "reconnecting";
}

function connect() {
  clearTimeout(retry);
  source?.close();
  if (document.hidden) return reconnecting();
  source = new EventSource(`/console/runs/${panel.dataset.uid}/events?after=${last}`);
  source.addEventListener("open", () => {
    live.hidden = false;
    live.className = "live";
    live.textContent = "live";
  });
  source.addEventListener("journal", receive);
  source.addEventListener("end", finish);
  source.addEventListener("error", async ({ target }) => {
    reconnecting();
    if (target.readyState !== EventSource.CLOSED) return; // the browser tries again, with Last-Event-ID
    const page = await fetch(location.pathname, { method: "HEAD", redirect: "manual" }).catch(() => null);
    if (target !== source) return; // the page was hidden and shown meanwhile
    if (page?.type === "opaqueredirect") {
      live.textContent = "Your session has ended. Reload the page to log in.";
      return;
    }
    retry = setTimeout(connect, pause);
    pause = Math.min(15_000, pause * 2);
  });
}

document.addEventListener("visibilitychange", connect);
const timer = setInterval(draw, 1000);
draw();
connect();
