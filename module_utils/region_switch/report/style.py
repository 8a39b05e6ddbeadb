"""The page's style sheet: light and dark, for screens, phones and paper."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f4f6f9; --card: #ffffff; --text: #16202e; --muted: #566374; --grid: #dde3ea; --line: #d3dae3;
  --accent: #1d5fd1; --good: #11773b; --bad: #c02626; --warn: #a45a00;
  --good-soft: #e2f5e8; --bad-soft: #fde9e9; --warn-soft: #fdf0dc; --plain-soft: #e9edf3;
  --series0: #b8650a; --series1: #1d5fd1; --series2: #8436b8; --series3: #0b7a75; --series4: #b3306b;
  --series5: #5f6b1a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0e141c; --card: #172029; --text: #e8edf3; --muted: #a3b0bf; --grid: #2b3845; --line: #324150;
    --accent: #7fb0ff; --good: #5fd48b; --bad: #ff8a85; --warn: #f4b355;
    --good-soft: #12331f; --bad-soft: #431c1c; --warn-soft: #3c2a0c; --plain-soft: #243140;
    --series0: #f0a44b; --series1: #7fb0ff; --series2: #cf9cf2; --series3: #56cfc7; --series4: #f58fbc;
    --series5: #c0cc6b;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 1120px; margin: 0 auto; padding: 28px 20px 48px; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 10px 0 6px; letter-spacing: -0.01em; }
h2 { font-size: 1.12rem; margin: 0 0 12px; }
h3 { font-size: 0.95rem; margin: 20px 0 6px; }
p { margin: 0 0 8px; }
a { color: var(--accent); }
code { font: 0.92em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
section, header { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 20px 22px; }
section { margin-top: 18px; min-width: 0; }
header { border-top: 5px solid var(--tone); }
.moved, .unchanged { --tone: var(--good); --soft: var(--good-soft); }
.refused, .partial, .rolled_back, .killed { --tone: var(--warn); --soft: var(--warn-soft); }
.failed { --tone: var(--bad); --soft: var(--bad-soft); }
.badge {
  display: inline-block; padding: 3px 12px; border-radius: 99px; background: var(--soft); color: var(--tone);
  font-weight: 650; border: 1px solid currentColor;
}
.lead { font-size: 1.03rem; max-width: 78ch; }
.sub { color: var(--muted); font-size: 0.9rem; overflow-wrap: anywhere; }
.error {
  border-left: 4px solid var(--tone); background: var(--soft); padding: 8px 12px; border-radius: 4px;
  overflow-wrap: anywhere;
}
.tiles {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 18px 0 0;
  padding: 0;
}
.tiles div { border: 1px solid var(--line); border-radius: 10px; padding: 10px 14px; }
.tiles dt { color: var(--muted); font-size: 0.85rem; }
.tiles dd { margin: 0; font-size: 1.5rem; font-weight: 650; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tiles dd small {
  display: block; line-height: 1.35; padding-top: 2px; font-size: 0.85rem; font-weight: 400; color: var(--muted);
}
.tiles .bad dd { color: var(--bad); }
.pair {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 430px), 1fr)); gap: 18px;
  margin-top: 18px;
}
.pair section { margin-top: 0; }
figure { margin: 0; min-width: 0; }
figure svg { display: block; width: 100%; height: auto; font-family: inherit; }
.narrow { display: none; }
.half { max-width: 640px; margin-bottom: 16px; }
.key {
  display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 0.88rem; margin: 0 0 6px; padding: 0;
  list-style: none;
}
.key i {
  display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px;
  vertical-align: -1px;
}
.series0 { background: var(--series0); }
.series1 { background: var(--series1); }
.series2 { background: var(--series2); }
.series3 { background: var(--series3); }
.series4 { background: var(--series4); }
.series5 { background: var(--series5); }
.events { list-style: none; margin: 14px 0 0; padding: 0; columns: 2 400px; column-gap: 28px; font-size: 0.92rem; }
.events li { display: flex; gap: 10px; padding: 3px 0; break-inside: avoid; align-items: baseline; }
.events b {
  flex: none; width: 22px; height: 22px; line-height: 22px; border-radius: 50%; text-align: center;
  font-size: 0.76rem;
  background: var(--text); color: var(--card);
}
.events b.none { background: transparent; color: transparent; }
.events time { flex: none; width: 5.4em; text-align: right; color: var(--muted); font-variant-numeric: tabular-nums; }
.events span { min-width: 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
.scroll:focus-visible, a:focus-visible, summary:focus-visible,
button:focus-visible, input:focus-visible, select:focus-visible {
  outline: 3px solid var(--accent); outline-offset: 1px;
}
table { border-collapse: collapse; width: 100%; font-size: 0.88rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 6px 8px; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th {
  border-bottom: 2px solid var(--line); white-space: nowrap; background: var(--card); color: var(--muted);
  font-weight: 600;
}
th.number, td.number { text-align: right; white-space: nowrap; }
th button { all: unset; cursor: pointer; padding: 2px 0; }
th[aria-sort] button { color: var(--text); }
th[aria-sort=ascending] button::after { content: " ▲"; font-size: 0.75em; }
th[aria-sort=descending] button::after { content: " ▼"; font-size: 0.75em; }
tbody th { font-weight: 500; }
.clients td { white-space: nowrap; }
.clients td.note { white-space: normal; min-width: 34em; }
.clients tbody th { min-width: 8em; max-width: 320px; overflow-wrap: anywhere; unicode-bidi: isolate; }
.clients th:first-child { position: sticky; left: 0; background: var(--card); }
.wrap { overflow-wrap: break-word; }
.wrap, .note { min-width: 7em; }
.names td, .names th { white-space: nowrap; }
.state {
  display: inline-block; padding: 0 9px; border-radius: 99px; background: var(--plain-soft);
  white-space: nowrap;
}
.state.landed { background: var(--good-soft); color: var(--good); }
.state.bad { background: var(--bad-soft); color: var(--bad); }
.state.warn { background: var(--warn-soft); color: var(--warn); }
.filters { display: flex; flex-wrap: wrap; gap: 10px 14px; align-items: end; margin-bottom: 12px; }
.filters label { display: grid; gap: 3px; font-size: 0.82rem; color: var(--muted); min-width: 0; }
input, select, .pager button {
  font: inherit; color: inherit; background: var(--page); border: 1px solid var(--muted); border-radius: 8px;
  padding: 6px 10px; max-width: 100%; min-height: 36px;
}
.pager { display: flex; flex-wrap: wrap; gap: 10px; align-items: center; margin-top: 12px; font-size: 0.9rem; }
.pager button { cursor: pointer; }
.pager button[hidden] { display: none; }
.pager button[disabled] { opacity: 0.45; cursor: default; }
.facts {
  display: grid; grid-template-columns: fit-content(45%) minmax(0, 1fr); gap: 3px 18px; margin: 0;
  font-size: 0.92rem;
}
.facts dt { color: var(--muted); }
.facts dd { margin: 0; overflow-wrap: anywhere; }
summary { cursor: pointer; color: var(--accent); margin-top: 12px; }
footer { color: var(--muted); font-size: 0.88rem; margin-top: 22px; overflow-wrap: anywhere; }
@media (max-width: 720px) {
  main { padding: 12px 10px 32px; }
  section, header { padding: 16px 14px; border-radius: 10px; }
  h1 { font-size: 1.4rem; }
  .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 8px; }
  .tiles dd { font-size: 1.25rem; }
  .wide { display: none; }
  .narrow { display: block; }
  .filters label, .filters input { flex: 1 1 130px; width: 100%; }
  .filters select { width: 100%; }
  .clients tbody th { max-width: 150px; }
  .events { columns: 1; }
}
@media print {
  :root { --page: #fff; --card: #fff; --text: #000; --muted: #444; --grid: #ccc; --line: #bbb; }
  body { font-size: 11px; }
  main { max-width: none; padding: 0; }
  section, header, figure { break-inside: avoid; }
  section.long { break-inside: auto; }
  .filters, .pager button { display: none; }
  .scroll { overflow: visible; }
}
"""
