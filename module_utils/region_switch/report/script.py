"""The script that sorts, filters and pages the table of clients. It inserts values as text, never as HTML."""

from __future__ import annotations

SCRIPT = """
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("client-data").textContent);
  const table = document.querySelector("table.clients");
  if (!table || !data.rows.length) return;
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const filters = document.querySelector(".filters");
  const text = document.getElementById("search");
  const selects = [...document.querySelectorAll("select[data-column]")];
  const shown = document.getElementById("shown");
  const [back, next] = document.querySelectorAll(".pager button");
  const index = name => data.columns.indexOf(name);
  const value = (row, column) => {
    const cell = row[column];
    const names = data.names[data.columns[column]];
    return names && cell !== null ? names[cell] : cell;
  };
  let sorted = 0, direction = 1, page = 0, found = data.rows;
  const size = data.page;

  const collator = new Intl.Collator("en", {numeric: true});

  function compare(left, right) {
    const a = value(left, sorted), b = value(right, sorted);
    if (a === b) return 0;
    // Unknown values come last in both directions.
    if (a === null || a === "") return 1;
    if (b === null || b === "") return -1;
    const way = typeof a === "number" && typeof b === "number" ? a - b : collator.compare(String(a), String(b));
    return way * direction;
  }
  function apply() {
    const wanted = text.value.trim().toLowerCase();
    const chosen = selects.filter(each => each.value !== "")
      .map(each => [index(each.dataset.column), Number(each.value)]);
    const id = index("client"), note = index("note");
    found = data.rows.filter(row =>
      chosen.every(([column, wants]) => row[column] === wants)
      && (!wanted || row[id].toLowerCase().includes(wanted)
        || (note >= 0 && row[note].toLowerCase().includes(wanted))));
    found.sort(compare);
    page = 0;
    draw();
  }

  function cell(row, column) {
    const name = data.columns[column];
    const made = document.createElement(column === 0 ? "th" : "td");
    const content = value(row, column);
    if (column === 0) made.scope = "row";
    if (data.numbers.includes(name)) made.className = "number";
    if (name === "note") made.className = "note";
    const known = content === null || content === "" ? "–" : content;
    if (name === "state") {
      const chip = document.createElement("span");
      chip.className = "state " + (data.tones[content] || "");
      chip.textContent = known;
      made.append(chip);
    } else if (typeof content === "number" && data.decimals.includes(name)) {
      made.textContent = content.toFixed(3);
    } else {
      made.textContent = known;
    }
    return made;
  }

  function draw() {
    const pages = Math.max(1, Math.ceil(found.length / size));
    page = Math.min(page, pages - 1);
    const rows = found.slice(page * size, (page + 1) * size).map(row => {
      const made = document.createElement("tr");
      made.append(...data.columns.map((_, column) => cell(row, column)));
      return made;
    });
    body.replaceChildren(...rows);
    const from = found.length ? page * size + 1 : 0;
    shown.textContent = `${from} to ${Math.min(found.length, (page + 1) * size)} of ${found.length}`
      + (found.length < data.rows.length ? `, filtered from ${data.rows.length}` : "");
    back.hidden = next.hidden = pages === 1;
    back.disabled = page === 0;
    next.disabled = page >= pages - 1;
  }

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      direction = sorted === column ? -direction : 1;
      sorted = column;
      heads.forEach(each => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      apply();
    });
  });
  heads[0].setAttribute("aria-sort", "ascending");
  text.addEventListener("input", apply);
  selects.forEach(each => each.addEventListener("change", apply));
  back.addEventListener("click", () => { page -= 1; draw(); });
  next.addEventListener("click", () => { page += 1; draw(); });
  filters.hidden = false;
  document.querySelector(".pager").hidden = false;
  apply();
})();
"""
