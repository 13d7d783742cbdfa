// Behaviour of all pages: relative and local times, Copy, keys, empty filters. Each page works without it.

const HOUR = 3600, DAY = 86400;
const zone = document.querySelector("[data-zone]");

function ago(seconds) {
  const size = Math.abs(seconds);
  if (size < 1) return "just now";
  const [unit, length] = size >= DAY ? ["day", DAY] : size >= HOUR ? ["h", HOUR] : size >= 60 ? ["min", 60] : ["s", 1];
  const count = Math.floor(size / length);
  const text = `${count} ${unit}${unit === "day" && count > 1 ? "s" : ""}`;
  return seconds > 0 ? `${text} ago` : `in ${text}`;
}

function local(at, now) {
  const two = (number) => String(number).padStart(2, "0");
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  if (at.toDateString() === now.toDateString()) return time;
  const month = at.toLocaleString("en", { month: "short" });
  return at.getFullYear() === now.getFullYear()
    ? `${month} ${at.getDate()} ${time}`
    : `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${time.slice(0, 5)}`;
}

function showTimes(root = document) {
  const now = new Date();
  for (const element of root.querySelectorAll("time")) {
    const at = new Date(element.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    element.textContent = "ago" in element.dataset ? ago((now - at) / 1000) : local(at, now);
  }
}

if (zone) {
  zone.textContent = Intl.DateTimeFormat().resolvedOptions().timeZone;
  showTimes();
  setInterval(showTimes, 10_000);
  addEventListener("pageshow", () => showTimes());
  document.addEventListener("shown", () => showTimes());
}

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) break;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.previousElementSibling.textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
}

// A filter without a value stays out of the URL.
document.querySelector("[data-filters]")?.addEventListener("submit", (event) => {
  for (const field of event.target.elements) if (field.name && !field.value) field.disabled = true;
});
addEventListener("pageshow", () => {
  for (const field of document.querySelectorAll("[data-filters] :disabled")) field.disabled = false;
});

// One menu of actions is open at a time; Escape closes it.
addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.action[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
document.addEventListener("toggle", (event) => {
  if (event.target.matches?.("details.action") && event.target.open) event.target.querySelector("input[name=reason]")?.focus();
}, true);

const PLACES = { o: "", r: "/runs", a: "/apis", w: "/workflows", s: "/schedules", v: "/revisions", y: "/system", t: "/activity" };
let begun = 0;
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
  if (event.key === "/" && document.querySelector("[data-filters]")) {
    event.preventDefault();
    document.querySelector("[data-filters] input:not([type=hidden])").focus();
  } else if (event.key === "g") {
    begun = Date.now();
  } else if (event.key in PLACES && Date.now() - begun < 1500) {
    begun = 0;
    const link = document.querySelector(`.top nav a[href="/console${PLACES[event.key]}"]`);
    if (link) location.assign(link.href);
  }
});
