// SPDX-License-Identifier: Apache-2.0
// Lists what is wrong with the page for people: what cannot be read, found by keyboard, or told by a screen reader.
(() => {
  const problems = [];
  const name = e => e.tagName.toLowerCase() + (e.id ? "#" + e.id : "") + (e.className && e.className.split ? "." + e.className.split(" ").join(".") : "");
  const all = q => Array.from(document.querySelectorAll(q));
  const must = (ok, text) => { if (!ok) problems.push(text); };
  const seen = e => { const r = e.getBoundingClientRect(); return r.width > 1 && r.height > 1 && getComputedStyle(e).visibility === "visible"; };

  must(document.documentElement.lang === "en", "the page has no language");
  must(document.title.length > 5, "the page has no title");
  must(all("h1").length === 1, all("h1").length + " h1");
  must(all("main").length === 1 && all("header").length > 0 && all("footer").length === 1, "a landmark is missing");
  all("nav").forEach(n => must(n.getAttribute("aria-label"), "a nav has no label"));
  must(all("nav a[aria-current=page]").length === 1, "the menu does not say which page this is");
  let level = 0;
  all("main h1, main h2, main h3, main h4").forEach(h => {
    const n = Number(h.tagName[1]);
    must(n <= level + 1, name(h) + " after h" + level);
    must(h.textContent.trim(), name(h) + " is empty");
    level = n;
  });
  all("input, select, textarea").forEach(i => must(i.labels && i.labels.length, name(i) + " has no label"));
  all("img").forEach(i => must(i.hasAttribute("alt"), "an image has no alt"));
  all("a, button, summary").forEach(e => must(e.textContent.trim() || e.getAttribute("aria-label"), name(e) + " has no text"));
  all("table").forEach(t => {
    must(t.caption || t.classList.contains("kv"), name(t) + " has no caption");
    t.querySelectorAll("th").forEach(h => must(h.getAttribute("scope"), "a th has no scope"));
  });
  all("svg").forEach(s => must(s.getAttribute("aria-hidden") || s.getAttribute("role") === "img" && s.getAttribute("aria-label"), "an svg says nothing"));
  const ids = {};
  all("[id]").forEach(e => { must(!ids[e.id], "id " + e.id + " is there twice"); ids[e.id] = true; });
  all("[aria-labelledby]").forEach(e => must(ids[e.getAttribute("aria-labelledby")], name(e) + " is labelled by nothing"));
  must(all("[style], style, script:not([src])").length === 0, "something is inline");
  must(document.documentElement.scrollWidth <= innerWidth, "the page is " + document.documentElement.scrollWidth + " wide in " + innerWidth);
  all("main *").forEach(e => {
    const r = e.getBoundingClientRect();
    if (r.right > innerWidth + 1 && !e.closest(".scroll, .sr, svg")) problems.push(name(e) + " ends at " + r.right);
  });

  // WCAG's contrast of text against what is behind it.
  const parse = c => (c.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const over = (top, under) => { const a = top.length > 3 ? top[3] : 1; return [0, 1, 2].map(i => top[i] * a + under[i] * (1 - a)); };
  const behind = e => {
    const layers = [];
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      layers.push(c);
      if (c.length < 4 || c[3] === 1) break;
    }
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
  };
  const light = c => { const [r, g, b] = c.slice(0, 3).map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const told = {};
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let texts = 0;
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || e.closest("noscript, script, option, .sr") || !seen(e)) continue;
    const style = getComputedStyle(e), back = behind(e);
    const ink = over(parse(e.closest("svg") ? style.fill : style.color), back);
    const [a, b] = [light(ink), light(back)].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize), large = size >= 24 || size >= 18.66 && Number(style.fontWeight) >= 700;
    const ratio = (a + 0.05) / (b + 0.05);
    texts++;
    if (ratio < (large ? 3 : 4.5) && !told[name(e)]) {
      told[name(e)] = true;
      problems.push(name(e) + " has a contrast of " + ratio.toFixed(2) + ": " + walker.currentNode.textContent.trim().slice(0, 40));
    }
  }
  must(texts > 20, "only " + texts + " texts are seen");
  return problems;
})()
