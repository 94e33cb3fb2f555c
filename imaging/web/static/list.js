// The open list: values change in place, rows move only when the reader asks for it.
// What is drawn is made by the server (/rows); this module puts it into the page. No strings become HTML here.

import { goDark, isDark } from "./lights.js";

const rows = document.getElementById("rows");
const field = document.getElementById("q");
const live = document.getElementById("live");
const help = document.getElementById("help");
const said = document.getElementById("said");
const LIVE_PARTS = ["health", "counts", "news", "more"];
const QUIET_MS = 1000; // between two readings of the list, however fast it changes
const REOPEN_MS = 5000;

// --- Putting a drawn page into this one -------------------------------------------------------------------------

// Make `old` like `fresh`, touching only what differs, so that focus, selection and scrolling stay.
function morph(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  // An answer is new text as a whole: half of an old sentence must not slide along.
  if (old.nodeName !== fresh.nodeName || old.matches?.("[data-whole]")) {
    old.replaceWith(document.importNode(fresh, true));
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    old.data = fresh.data;
    return;
  }
  morphAttributes(old, fresh);
  while (old.childNodes.length > fresh.childNodes.length) old.lastChild.remove();
  fresh.childNodes.forEach((child, at) => {
    if (at < old.childNodes.length) morph(old.childNodes[at], child);
    else old.append(document.importNode(child, true));
  });
}

function morphAttributes(old, fresh) {
  for (const name of old.getAttributeNames()) {
    if (name !== "tabindex" && !fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (name !== "tabindex" && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
}

function byNumber(body) {
  return new Map([...body.rows].map((row) => [row.dataset.number, row]));
}

// Values only, and of those what changed: a row whose study was removed stays, marked, until the reader refreshes.
function changeInPlace(fresh) {
  const gone = fresh.dataset.gone.split(",");
  const present = byNumber(fresh);
  for (const row of rows.rows) {
    const now = present.get(row.dataset.number);
    if (now) morph(row, now);
    else if (gone.includes(row.dataset.number)) row.classList.add("gone");
  }
}

// The reader asked for it: the present order, with focus on the same study, or at the same place where it is gone.
function reorder(fresh) {
  const hadFocus = rows.contains(document.activeElement) ? document.activeElement : null;
  const place = current ? current.sectionRowIndex : 0;
  const known = byNumber(rows);
  const wanted = [...fresh.rows].map((row) => {
    const old = known.get(row.dataset.number);
    if (!old) return document.importNode(row, true);
    morph(old, row);
    return old;
  });
  rows.replaceChildren(...wanted);
  if (rows.dataset.page !== fresh.dataset.page) {
    // Another page: its first row, from the top.
    window.scrollTo(0, 0);
    setCurrent(rows.rows[0]);
    if (current && document.activeElement !== field) current.focus();
    return;
  }
  const stays = current && current.isConnected;
  setCurrent(stays ? current : rows.rows[Math.min(place, rows.rows.length - 1)]);
  if (hadFocus && current) (hadFocus.isConnected ? hadFocus : current).focus();
}

// --- Reading the list -------------------------------------------------------------------------------------------

let isLoading = false;
let restTimer = 0;
let wanted = null; // the reading to make next: "values" or "order"; order includes values
let wantedPage = 0; // the page that the reader asked for; 0: the present one
let isReadable = true; // whether the last reading succeeded; where not, the page may not call itself live
let lastMinute = live.querySelector("time").textContent.slice(0, 5);

function load(what) {
  wanted = wanted === "order" ? wanted : what;
  if (isLoading || (restTimer && wanted !== "order")) return; // a reader does not wait for the rest
  clearTimeout(restTimer);
  restTimer = 0;
  isLoading = true;
  const isOrder = wanted === "order";
  wanted = null;
  const form = new URLSearchParams({ lang: document.documentElement.lang, q: field.value });
  form.set("page", (isOrder && wantedPage) || rows.dataset.page);
  if (isOrder) {
    wantedPage = 0;
  } else {
    form.set("shown", [...rows.rows].map((row) => `${row.dataset.number}.${row.dataset.look}`).join());
    form.set("newest", rows.dataset.newest);
  }
  // XMLHttpRequest, not fetch: it parses HTML into a scriptless document, which Trusted Types allow.
  const request = new XMLHttpRequest();
  request.open("POST", "/rows");
  request.responseType = "document";
  request.timeout = 30000;
  request.onload = () => {
    isReadable = request.status === 200 && request.response !== null;
    if (isReadable) show(request.response, isOrder);
  };
  request.onerror = request.ontimeout = () => {
    isReadable = false;
  };
  request.onloadend = () => {
    isLoading = false;
    restTimer = setTimeout(() => {
      restTimer = 0;
      if (wanted) load(wanted);
    }, QUIET_MS);
    if (wanted === "order") load(wanted);
  };
  request.send(form);
}

function show(page, isOrder) {
  const fresh = page.getElementById("rows");
  const news = document.getElementById("news").textContent;
  for (const id of LIVE_PARTS) {
    // What lies below the rows belongs to their order.
    if (id !== "more" || isOrder) morph(document.getElementById(id), page.getElementById(id));
  }
  rows.dataset.mark = fresh.dataset.mark;
  if (isOrder) {
    reorder(fresh);
    for (const name of ["page", "newest"]) rows.dataset[name] = fresh.dataset[name];
  } else {
    changeInPlace(fresh);
  }
  const told = document.getElementById("news").textContent;
  if (told !== news) said.textContent = told;
}

// --- Hearing of changes -----------------------------------------------------------------------------------------

let heardAt = performance.now();
let isStale = false;

function sayLive(word, state) {
  live.className = `live ${state}`;
  live.querySelector(".word").textContent = word;
}

// `revision` is the mark of the list as it is now, `at` the server's time: by its clock alone times are counted.
function hear({ revision, at }) {
  const minute = at.slice(0, 5);
  if (revision !== rows.dataset.mark || minute !== lastMinute || !isReadable || isDark()) load("values");
  lastMinute = minute;
  if (!isReadable) return;
  heardAt = performance.now();
  if (isStale) said.textContent = live.dataset.live;
  isStale = false;
  sayLive(live.dataset.live, "is-live");
  live.querySelector("time").textContent = at;
}

setInterval(() => {
  if (isStale || performance.now() - heardAt < 1000 * live.dataset.staleAfter) return;
  isStale = true;
  sayLive(live.dataset.stale, "is-stale");
  said.textContent = `${live.textContent} ${goDark()}`;
}, 1000);

// One stream for all pages of a browser (HTTP/1.1 has six connections): the page that holds the lock relays it.
const relay = "BroadcastChannel" in window ? new BroadcastChannel("imaging") : null;
let lastTold = null; // by the stream, in the page that holds it
if (relay) {
  relay.onmessage = ({ data }) => {
    if (data !== "what is it now?") hear(data);
    else if (lastTold) relay.postMessage(lastTold);
  };
  relay.postMessage("what is it now?");
}

function listen() {
  const source = new EventSource(`/events?since=${encodeURIComponent(rows.dataset.mark)}`);
  for (const kind of ["change", "beat"]) {
    source.addEventListener(kind, ({ data }) => {
      lastTold = JSON.parse(data);
      hear(lastTold);
      if (relay) relay.postMessage(lastTold);
    });
  }
  // Broken streams come back by themselves; refused ones (a proxy, a restart) do not.
  source.onerror = () => {
    if (source.readyState !== EventSource.CLOSED) return;
    setTimeout(listen, REOPEN_MS);
  };
}

if (relay && navigator.locks) {
  navigator.locks.request("imaging-events", () => {
    listen();
    return new Promise(() => {}); // held until the page goes
  });
} else {
  listen();
}

// --- Keys -------------------------------------------------------------------------------------------------------

let current = null;

// Roving tabindex: one row is in the tab order, with its links.
function setCurrent(row) {
  if (current && current !== row) current.tabIndex = -1;
  current = row || null;
  if (current) current.tabIndex = 0;
}

function goTo(row) {
  if (!row) return;
  setCurrent(row);
  row.focus();
}

function step(by) {
  if (!rows.contains(document.activeElement)) goTo(current || rows.rows[0]);
  else goTo(rows.rows[current.sectionRowIndex + by]);
}

function open(row, kinds) {
  const link = row && kinds.map((kind) => row.querySelector(`a[${kind}]`)).find(Boolean);
  if (link) link.click();
}

const LETTERS = {
  j: () => step(1),
  k: () => step(-1),
  r: () => load("order"),
  a: () => open(current, ["data-answers"]),
  "/": () => {
    field.focus();
    field.select();
  },
  "?": () => help.showModal(),
};
const letters = document.getElementById("letters");
letters.checked = localStorage.getItem("letters") !== "off";
letters.onchange = () => localStorage.setItem("letters", letters.checked ? "on" : "off");

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || help.open) return;
  if (event.target.closest("input, textarea, select")) {
    if (event.key !== "Escape") return;
    event.preventDefault(); // the field would empty itself, and the filter with it
    goTo(current || rows.rows[0]);
    return;
  }
  const inRows = rows.contains(event.target);
  let act = letters.checked ? LETTERS[event.key.toLowerCase()] : undefined;
  if (inRows && event.key === "ArrowDown") act = () => step(1);
  if (inRows && event.key === "ArrowUp") act = () => step(-1);
  if (event.key === "Enter" && event.target.matches("tr.row")) {
    act = () => open(current, ["data-viewer", "data-answers"]);
  }
  if (!act) return;
  event.preventDefault();
  act();
});

rows.addEventListener("focusin", (event) => setCurrent(event.target.closest("tr")));
document.getElementById("refresh").addEventListener("click", (event) => {
  event.preventDefault();
  load("order");
});
// A filter begins on its first page; the buttons of the pages belong to the same form.
function toPage(page) {
  wantedPage = page;
  load("order");
}
document.getElementById("filter").addEventListener("submit", (event) => {
  event.preventDefault();
  toPage(event.submitter?.name === "page" ? event.submitter.value : 1);
});
field.addEventListener("input", () => toPage(1));
const keys = document.getElementById("keys");
keys.hidden = false;
keys.onclick = () => help.showModal();

setCurrent(document.querySelector("tr.row:target") || rows.rows[0]);
if (location.hash && current && `#${current.id}` === location.hash) current.focus();
