"""The page's HTML as a Jinja template, in a string because Ansible sends a module only Python files.

Everything is escaped, except what the template marks as safe: matplotlib's pictures, this package's style and script.
"""

from __future__ import annotations

TEMPLATE = """\
{% macro figure(group, key) -%}
  {#- A figure of summary.json, marked with its key; large numbers with commas. -#}
  {%- set value = summary[group][key] -%}
  <span data-key="{{ group }}.{{ key }}" data-value="{{ "" if value is none else value }}">
    {{- "?" if value is none else "{:,}".format(value) if value is integer else value -}}
  </span>
{%- endmacro -%}

{% macro picture(svg, label, css="") %}
<figure class="{{ css }}" role="img" aria-label="{{ label }}">{{ svg | safe }}</figure>
{% endmacro -%}

{% macro table(label, css, heads, numeric=()) %}
<div class="scroll" role="region" aria-label="{{ label }}" tabindex="0"><table class="{{ css }}"><thead><tr>
{% for head in heads %}<th scope="col" class="{{ "number" if head in numeric }}">{{ head }}</th>{% endfor %}
</tr></thead><tbody>{{ caller() }}</tbody></table></div>
{% endmacro -%}

{% macro facts(pairs) %}
<dl class="facts">
{% for name, value in pairs %}<dt>{{ name }}</dt><dd><code>{{ value }}</code></dd>{% endfor %}
</dl>
{% endmacro -%}

{% macro phases() %}
<table><thead><tr><th scope="col">phase</th><th scope="col" class="number">seconds</th></tr></thead><tbody>
{% for phase in summary.phases %}
<tr><th scope="row">{{ phase.name }}</th>
<td class="number" data-key="phases.{{ loop.index0 }}">{{ phase.seconds }}</td></tr>
{% endfor %}
</tbody></table>
{% endmacro -%}

{% macro finding_section() %}
<section aria-labelledby="findings">
<h2 id="findings">Findings</h2>
{% if findings %}
{% call table("Findings", "", ("kind", "check", "where", "found", "expected", "what to do")) %}
{% for row in findings %}
<tr><th scope="row"><span class="state {{ kind_tones.get(row[0], "") }}">{{ row[0] }}</span></th>
{% for cell in row[1:] %}<td class="wrap">{{ "" if cell is none else cell }}</td>{% endfor %}</tr>
{% endfor %}
{% endcall %}
{% else %}
<p class="sub">{{ no_findings }}</p>
{% endif %}
</section>
{% endmacro -%}

{% set refused = summary.outcome == "refused" %}
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{{ policy }}">
<link rel="icon" href="data:,">
<title>{{ title }}: {{ words }}</title>
<style>{{ style | safe }}</style>
</head>
<body>
<main>
<header class="{{ summary.outcome if means else "failed" }}">
<span class="badge" data-key="outcome" data-value="{{ summary.outcome }}">{{ words }}</span>
<h1>{{ title }}: {{ moves }}</h1>
<p class="lead">{{ means }} {{ advice }}</p>
{% if run.error %}<p class="error" data-key="error">{{ run.error }}</p>{% endif %}
{% for note in run.notes %}<p class="sub">{{ note }}</p>{% endfor %}
<p class="sub"><span data-key="run_id">{{ summary.run_id }}</span>, began
<time>{{ summary.started_at or "?" }}</time></p>
{# The figures of summary.json that people look for first. #}
<dl class="tiles">
{% if summary.clients %}
<div><dt>clients in their record's region</dt><dd>{{ figure("clients", "landed") }}
<small>of {{ figure("clients", "total") }} clients, {{ figure("clients", "misplaced") }}
{{ "would have to move" if refused else "had to move" }}</small></dd></div>
{# A refused run disconnected no client: it has no stragglers. #}
<div class="{{ "bad" if summary.clients.stragglers and not refused }}">
<dt>{{ "elsewhere" if refused else "stragglers" }}</dt><dd>{{ figure("clients", "stragglers") }}
<small>{{ figure("clients", "bounced") }} bounced, {{ figure("clients", "in_both_regions") }} in both regions</small>
</dd></div>
{% endif %}
{% if summary.gap_seconds %}
<div><dt>median gap per client</dt><dd>{{ figure("gap_seconds", "p50") }} s
<small>p95 {{ figure("gap_seconds", "p95") }} s, at most {{ figure("gap_seconds", "max") }} s</small></dd></div>
{% endif %}
{% if summary.messages %}
<div class="{{ "bad" if summary.messages.lost }}"><dt>messages</dt><dd>{{ figure("messages", "lost") }} lost
<small>of {{ figure("messages", "sent") }} sent, {{ figure("messages", "duplicated") }} duplicated</small>
<small>{{ figure("messages", "received") }} received</small></dd></div>
{% endif %}
{% if summary.sweep.calls %}
<div><dt>DeleteConnection calls</dt><dd>{{ figure("sweep", "calls") }}
{% if summary.sweep.rate is not none %}
<small>{{ figure("sweep", "rate") }} per second, {{ figure("sweep", "throttled") }} throttled,
{{ figure("sweep", "passes") }} passes</small>
{% endif %}
</dd></div>
{% endif %}
<div><dt>duration</dt><dd>{{ "%.1f" | format(run.seconds) }} s</dd></div>
</dl>
</header>
{% if refused %}{{ finding_section() }}{% endif %}

<section aria-labelledby="what-happened">
<h2 id="what-happened">What happened</h2>
{% if run.messages %}
<ul class="key">
{% for region, number in colours.items() %}
<li><i class="series{{ number % series }}"></i>messages arriving in {{ region }}</li>
{% endfor %}
</ul>
{% else %}
<p class="sub">{{ no_messages }}</p>
{% endif %}
{% if charts.timeline %}
{{ picture(charts.timeline, "Timeline of the move; the list below names its events", "wide") }}
{{ picture(charts.timeline_narrow, "Timeline of the move; the list below names its events", "narrow") }}
<p class="sub">Bars show how long Route 53 took, how long each DNS server kept the old answer, how long each wave
lasted, and the time from each client's disconnect until it was seen in its region.</p>
{% endif %}
<ol class="events">
{% for event in run.events %}
{% set number = numbers.get(loop.index0) %}
<li>{% if number %}<b>{{ number }}</b>{% else %}<b class="none" aria-hidden="true">0</b>{% endif %}
<time>{{ "%+.2f" | format(event.at) }} s</time><span>{{ event.text }}</span></li>
{% endfor %}
</ol>
</section>

<div class="pair">
{% set gap_title = "Gap per client" if run.messages and run.messages.sample else "Time to land" %}
{% set name = gap_title | lower | replace(" ", "-") %}
<section aria-labelledby="{{ name }}">
<h2 id="{{ name }}">{{ gap_title }}</h2>
{% if not gaps %}
<p class="sub">No client was seen to move.</p>
{% elif charts.gaps %}
{{ picture(charts.gaps, gap_title) }}<p class="sub">{{ gap_label }}</p>
{% else %}
<p class="sub">{{ gaps | length }} clients, {{ "%.3f" | format(gaps[-1]) }} s at most. {{ gap_label }}</p>
{% endif %}
</section>
<section aria-labelledby="phases">
<h2 id="phases">Phases</h2>
{% if charts.phases %}
{{ picture(charts.phases, "Phases of the run, one after the other") }}
<details><summary>As a table</summary>{{ phases() }}</details>
{% else %}
{{ phases() }}
{% endif %}
</section>
</div>

{% if data.rows %}
<section class="long" aria-labelledby="clients">
<h2 id="clients">Clients</h2>
{% if charts.clients %}{{ picture(charts.clients, "Clients disconnected and landed over time", "half") }}{% endif %}
{% if run.clients.total > data.rows | length %}
<p class="sub">{{ data.rows | length }} of {{ run.clients.total }} clients are shown, those with problems first;
clients.csv has all of them.</p>
{% endif %}
<div class="filters" role="search" hidden>
<label>client or note<input type="search" id="search" autocomplete="off" spellcheck="false"></label>
{% for name, choices in filters.items() %}
<label>{{ name }}<select data-column="{{ name }}"><option value="">all</option>
{% for number, text in choices %}<option value="{{ number }}">{{ text }}</option>{% endfor %}
</select></label>
{% endfor %}
</div>
{% call table("Table of clients", "clients", data.columns, data.numbers) %}
{% for row in first_rows %}
<tr>
{% for name, text in row %}
{% if name == "client" %}
<th scope="row">{{ text }}</th>
{% elif name == "state" %}
<td><span class="state {{ data.tones.get(text, "") }}">{{ text }}</span></td>
{% else %}
<td class="{{ "number" if name in data.numbers else "note" if name == "note" }}">{{ text }}</td>
{% endif %}
{% endfor %}
</tr>
{% endfor %}
{% endcall %}
<div class="pager" hidden><button type="button">Previous</button><button type="button">Next</button>
<span id="shown" role="status"></span></div>
<noscript><p class="sub">The first {{ data.page }} clients are shown: to sort, filter and see the others, enable
JavaScript. clients.csv has all of them.</p></noscript>
<p class="sub">{{ states }}. Times are in seconds since the run began. landed after: seconds since the disconnect, as
AWS saw it; gap: seconds without messages, by the ledger.</p>
</section>
{% else %}
<section aria-labelledby="clients">
<h2 id="clients">Clients</h2>
<p class="sub">{{ no_clients }}</p>
</section>
{% endif %}
{% if not refused %}{{ finding_section() }}{% endif %}

<section aria-labelledby="plan">
<h2 id="plan">Plan</h2>
{% if summary.plan %}
{% call table("Plan", "names", ("endpoint", "from", "to", "what")) %}
{% for name, move in summary.plan.items() %}
<tr><th scope="row">{{ name }}</th><td data-key="plan.{{ name }}.from">{{ move["from"] }}</td>
<td data-key="plan.{{ name }}.to">{{ move["to"] }}</td>
<td>{{ "moves" if move["from"] != move["to"] else "stays" }}</td></tr>
{% endfor %}
{% endcall %}
<h3>Pace and targets</h3>{{ facts(plan_facts) }}
{% else %}
<p class="sub">The run ended before it had a plan.</p>
{% endif %}
</section>

<section aria-labelledby="environment">
<h2 id="environment">Environment</h2>
{% if versions or options %}
{% if made_by %}<h3>Made by</h3>{{ facts(made_by) }}<h3>Versions</h3>{% endif %}
{{ facts(versions) }}<h3>Options</h3>{{ facts(options) }}
{% else %}
<p class="sub">Not in the journal, which another release wrote.</p>
{% endif %}
</section>
<footer>In this folder: <a href="summary.json">summary.json</a>, <a href="journal.jsonl">journal.jsonl</a>,
<a href="clients.csv">clients.csv</a>. docs/runbook.md, "Reading the report", describes them.</footer>
</main>
<script type="application/json" id="client-data">{{ data | tojson }}</script>
<script>{{ script | safe }}</script>
</body>
</html>
"""
