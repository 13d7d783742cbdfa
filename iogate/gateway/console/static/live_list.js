// Live updates of the list of runs: when runs have changed, the page is fetched, and its table replaces ours.
// The browser parses it as a document of its own, in which no script runs. A hidden page has no stream: with
// HTTP/1.1 a browser has six connections for all pages of a gateway.

const LEAST = 700; // ms between two looks
const IDLE = 15_000;
const panel = document.getElementById("runs");
const live = document.getElementById("live-list");
let looked = 0, took = 0, timer = 0, source, retry = 0, pause = 1000;

function look() {
  timer = 0;
  if (document.hidden) return;
  looked = Date.now();
  const request = new XMLHttpRequest();
  request.open("GET", location.pathname + location.search);
  request.responseType = "document";
  request.addEventListener("load", () => {
    took = Date.now() - looked;
    const found = request.status === 200 && request.responseXML?.getElementById("runs");
    if (found) show(document.adoptNode(found));
  });
  request.send();
}

function show(found) {
  if (getSelection()?.toString() && getSelection().containsNode(panel, true)) return; // somebody copies
  const focused = panel.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  panel.replaceChildren(...found.childNodes);
  if (focused) panel.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  document.dispatchEvent(new Event("shown"));
}

// A slow gateway is asked less often.
function changed() {
  timer ||= setTimeout(look, Math.max(0, looked + Math.max(LEAST, 3 * took) - Date.now()));
}

function connect() {
  clearTimeout(retry);
  source?.close();
  if (document.hidden) return;
  source = new EventSource("/console/runs/changes");
  source.addEventListener("open", () => {
    pause = 1000;
    live.hidden = false;
    changed();
  });
  source.addEventListener("changed", () => changed());
  source.addEventListener("error", () => {
    live.hidden = true;
    if (source.readyState !== EventSource.CLOSED) return; // the browser tries again
    retry = setTimeout(connect, pause);
    pause = Math.min(60_000, pause * 2);
  });
}

document.addEventListener("visibilitychange", () => {
  connect();
  changed();
});
setInterval(() => Date.now() - looked >= IDLE && changed(), IDLE);
connect();
