// SPDX-License-Identifier: Apache-2.0
// Loads the page anew every few seconds and takes over what has changed. Without it the page loads itself whole.
"use strict";
(function () {
  var every = Number(document.body.dataset.fresh) * 1000;
  var state = document.getElementById("live");
  var pause = document.getElementById("pause");
  var fails = 0, underWay = false;
  var focusable = "a[href], button, summary, input, select, [tabindex]";

  function paused() { return pause.getAttribute("aria-pressed") === "true"; }

  function say(text, stale) {
    if (state.textContent === text) return;
    state.textContent = text;
    state.className = stale ? "stale" : "";
  }

  // Nothing is taken from under somebody who is marking text.
  function busy() {
    var selection = document.getSelection();
    return selection && !selection.isCollapsed && document.getElementById("main").contains(selection.anchorNode);
  }

  // What an element is, where there is no id: enough to find it again after its place has changed.
  function name(e) { return e.tagName + "|" + (e.id || e.getAttribute("href") || e.textContent); }

  function find(part, wanted, nth) {
    return Array.from(part.querySelectorAll(focusable)).filter(function (e) { return name(e) === wanted; })[nth];
  }

  // What the reader has done to a part is done to what takes its place: opened details, scrolled tables, focus.
  function swap(old, fresh) {
    fresh.querySelectorAll("details[id]").forEach(function (d) {
      var same = document.getElementById(d.id);
      if (same) d.open = same.open;
    });
    var places = Array.from(old.querySelectorAll(".scroll"), function (s) { return [s.scrollLeft, s.scrollTop]; });
    var active = old.contains(document.activeElement) ? document.activeElement : null;
    var wanted = active && name(active);
    var nth = active && Array.from(old.querySelectorAll(focusable)).filter(function (e) { return name(e) === wanted; }).indexOf(active);
    var x = window.scrollX, y = window.scrollY;

    old.className = fresh.className;
    old.replaceChildren.apply(old, Array.from(fresh.childNodes));

    var tables = old.querySelectorAll(".scroll");
    if (tables.length === places.length) {
      places.forEach(function (place, i) { tables[i].scrollLeft = place[0]; tables[i].scrollTop = place[1]; });
    }
    var next = active && find(old, wanted, nth);
    if (next) next.focus({preventScroll: true});
    window.scrollTo(x, y);
  }

  function take(text) {
    var page = new DOMParser().parseFromString(text, "text/html");
    if (!page.getElementById("main")) throw new Error("no page");
    document.querySelectorAll("[data-live][id]").forEach(function (old) {
      var fresh = page.getElementById(old.id);
      if (fresh && !fresh.isEqualNode(old)) swap(old, document.importNode(fresh, true));
    });
    document.title = page.title;
  }

  function load() {
    if (underWay || paused() || document.hidden || busy()) return;
    underWay = true;
    fetch(location.href, {cache: "no-store", credentials: "same-origin", headers: {Accept: "text/html"}}).then(function (answer) {
      if (!answer.ok) throw new Error("status " + answer.status);
      return answer.text();
    }).then(function (text) {
      take(text);
      fails = 0;
      say("Live: brought up to date every " + every / 1000 + " seconds.");
    }).catch(function () {
      fails++;
      if (fails > 1) say("The agent has not answered for " + Math.round(fails * every / 1000) + " seconds. What you see is old.", true);
    }).finally(function () { underWay = false; });
  }

  pause.hidden = false;
  pause.addEventListener("click", function () {
    pause.setAttribute("aria-pressed", String(!paused()));
    pause.textContent = paused() ? "Go on" : "Pause";
    if (paused()) say("Paused at " + new Date().toLocaleTimeString() + ".");
    else load();
  });
  document.addEventListener("visibilitychange", load);
  say("Live: brought up to date every " + every / 1000 + " seconds.");
  setInterval(load, every);
})();
