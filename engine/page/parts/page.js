// Draws the page's charts from the JSON beside it, and, on a live page, what its server adds.
//
// The timeline is drawn as a raster at the screen's resolution, made anew for whatever part of it
// is in view. So what it takes to draw follows from the size of the chart and not from the number
// of items, and every zoom shows all that there is.
"use strict";
(() => {
  const payload = JSON.parse(document.getElementById("payload").textContent);
  const stages = payload.stages;
  const WRONG = stages.length; // the colour of attempts that did not go well
  const WELL = new Set(["done", "dropped"].map((name) => payload.outcomes.indexOf(name)));
  const byId = (id) => document.getElementById(id);
  const phone = () => window.innerWidth < 720;
  const reach = { from: 0, to: 1 }; // the whole time axis, milliseconds
  let runs = payload.runs;
  let curves = payload.curves;
  let zoom = null; // what of the time axis is in view; null: all
  let rowsInView = null; // what of the items is in view; null: all
  let theme = {};

  // Time

  const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5,
    6e5, 9e5, 18e5, 36e5, 72e5, 108e5, 216e5, 432e5, 864e5, 1728e5, 6048e5];

  function clock(ms, step) {
    const two = (number) => String(number).padStart(2, "0");
    const seconds = Math.floor(ms / 1000);
    const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
    const digits = step >= 1000 ? 0 : step >= 100 ? 1 : step >= 10 ? 2 : 3;
    const rest = digits ? (ms / 1000 - seconds).toFixed(digits).slice(1) : "";
    return h ? `${h}:${two(m)}:${two(s)}${rest}` : `${m}:${two(s)}${rest}`;
  }

  function ticks(from, to) {
    const wanted = phone() ? 4 : 9;
    const step = STEPS.find((one) => (to - from) / one <= wanted) || STEPS[STEPS.length - 1];
    const values = [];
    for (let at = Math.ceil(from / step) * step; at <= to && values.length < 40; at += step) {
      values.push(at);
    }
    return { tickmode: "array", tickvals: values, ticktext: values.map((at) => clock(at, step)) };
  }

  function duration(ms) {
    if (ms < 1000) return `${Math.round(ms)} ms`;
    return ms < 60000 ? `${(ms / 1000).toFixed(1)} s` : clock(ms, 1000);
  }

  function moment(ms) {
    let run = runs[0];
    for (const one of runs) if (one.offset <= ms) run = one;
    return run ? new Date(run.started + ms - run.offset).toLocaleString() : "";
  }

  // Looks

  function readTheme() {
    const style = getComputedStyle(document.documentElement);
    const get = (name) => style.getPropertyValue(name).trim();
    theme = {
      text: get("--text"), muted: get("--muted"), line: get("--line"), panel: get("--panel"),
      failed: get("--failed"), busy: get("--busy"), blocked: get("--blocked"),
      starved: get("--starved"), accent: get("--accent"),
      stages: stages.map((_, number) => get(`--s${number % 8}`)),
    };
    for (const swatch of document.querySelectorAll(".swatch[data-stage]")) {
      swatch.style.background = theme.stages[swatch.dataset.stage];
    }
  }

  function inView() {
    return zoom || [reach.from, reach.to];
  }

  function layout(more) {
    const [from, to] = inView();
    return {
      margin: { l: 46, r: 12, t: 10, b: 30 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: 12, color: theme.muted },
      hoverlabel: { bgcolor: theme.panel, bordercolor: theme.line, font: { color: theme.text } },
      hovermode: "x unified",
      hoverdistance: -1, // however far apart the samples are
      dragmode: phone() ? false : "zoom",
      showlegend: false,
      modebar: { bgcolor: "rgba(0,0,0,0)", color: theme.muted, activecolor: theme.accent },
      ...more,
      xaxis: {
        range: [from, to], minallowed: reach.from, maxallowed: reach.to, ...ticks(from, to),
        gridcolor: theme.line, zeroline: false, linecolor: theme.line, fixedrange: phone(),
        unifiedhovertitle: { text: " " }, spikecolor: theme.muted, spikethickness: 1, spikedash: "solid",
        ...more.xaxis,
      },
    };
  }

  function yAxis(more) {
    return { gridcolor: theme.line, zeroline: false, fixedrange: true, rangemode: "tozero",
      nticks: 5, ...more };
  }

  const CONFIG = {
    displaylogo: false,
    responsive: true,
    showTips: false,
    // Two clicks are one double click within so many ms: a busy machine tells of the second one late.
    doubleClickDelay: 1000,
    modeBarButtons: [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "autoScale2d"]],
  };

  function draw(id, traces, more) {
    const chart = byId(id);
    const first = !chart.classList.contains("js-plotly-plot");
    // A finger that is drawn over a chart scrolls the page; the timeline is zoomed by buttons then.
    const buttons = phone() ? id === "chart-timeline" : "hover";
    Plotly.react(chart, traces, layout(more), { ...CONFIG, displayModeBar: buttons });
    if (first) {
      chart.on("plotly_relayout", (change) => zoomed(id, change));
      chart.on("plotly_doubleclick", () => { zoom = rowsInView = null; drawAll(); });
    }
    return chart;
  }

  function zoomed(id, change) {
    const read = (axis) => change[`${axis}.range`]
      || (`${axis}.range[0]` in change
        ? [change[`${axis}.range[0]`], change[`${axis}.range[1]`]] : null);
    const x = read("xaxis");
    const y = id === "chart-timeline" ? read("yaxis") : null;
    if (x) zoom = [Math.max(reach.from, x[0]), Math.min(reach.to, x[1])];
    if (y) rowsInView = [Math.min(...y), Math.max(...y)];
    if (change["xaxis.autorange"]) zoom = null;
    if (change["yaxis.autorange"]) rowsInView = null;
    if (x || y || change["xaxis.autorange"]) drawAll();
  }

  // Charts are drawn one after the other, with room in between for whatever the reader does. One
  // that is out of sight is drawn once, and then again when it comes into sight.

  const stale = new Set();
  const drawn = new Set();
  let pumping = false;

  function isNear(id) {
    const box = byId(id).getBoundingClientRect();
    return box.bottom > -300 && box.top < window.innerHeight + 300;
  }

  function drawAll() {
    const last = runs[runs.length - 1];
    reach.to = Math.max(1, last ? last.offset + last.length : 1);
    const none = !curves.time.some((at) => at !== null);
    byId("history-none").hidden = !none;
    byId("history-charts").hidden = none;
    for (const id of none ? ["chart-timeline"] : Object.keys(CHARTS)) stale.add(id);
    pump();
  }

  function pump() {
    if (pumping) return;
    const next = [...stale].find((id) => !drawn.has(id) || isNear(id));
    if (next === undefined) {
      document.documentElement.dataset.drawn = "yes";
      return;
    }
    pumping = true;
    setTimeout(() => {
      stale.delete(next);
      drawn.add(next);
      CHARTS[next]();
      requestAnimationFrame(() => { pumping = false; pump(); });
    });
  }

  // The timeline

  const COLUMNS = ["item", "part", "stage", "worker", "start", "length", "outcome"];
  const timeline = { generation: -1, stride: 1, items: [], open: [] };
  for (const name of COLUMNS) timeline[name] = [];
  let order = []; // the items in the order in which they began
  let rowOf = []; // where an item stands in it
  let owners = null; // for each cell of the raster, the attempt that it shows
  let hasParts = false;

  function takeTimeline(news) {
    if (news.generation !== timeline.generation || news.from === 0) {
      for (const name of [...COLUMNS, "items"]) timeline[name] = [];
      timeline.generation = news.generation;
    }
    if (news.from !== timeline.item.length || news.fromItem !== timeline.items.length) return;
    timeline.stride = news.stride;
    for (const name of [...COLUMNS, "items"]) {
      for (const value of news[name]) timeline[name].push(value);
    }
    timeline.open = news.open;
    arrange();
  }

  function arrange() {
    const began = new Array(timeline.items.length).fill(Infinity);
    for (let at = 0; at < timeline.item.length; at++) {
      const item = timeline.item[at];
      if (timeline.start[at] < began[item]) began[item] = timeline.start[at];
    }
    const names = timeline.items.slice();
    const known = new Map(names.map((name, item) => [name, item]));
    for (const attempt of timeline.open) {
      let item = known.get(attempt[0]);
      if (item === undefined) {
        item = names.length;
        names.push(attempt[0]);
        known.set(attempt[0], item);
        began.push(Infinity);
      }
      attempt[5] = item;
      began[item] = Math.min(began[item], attempt[4]);
    }
    hasParts = timeline.part.some((part) => part > 0) || timeline.open.some((one) => one[1] > 0);
    timeline.names = names;
    order = names.map((_, item) => item).sort((a, b) => began[a] - began[b] || a - b);
    rowOf = new Int32Array(order.length);
    order.forEach((item, row) => { rowOf[item] = row; });
    timeline.count = timeline.item.length + timeline.open.length;
  }

  // One attempt, be it over or going on.
  function attempt(at) {
    const over = at < timeline.item.length;
    if (over) {
      return { item: timeline.item[at], part: timeline.part[at], stage: timeline.stage[at],
        worker: timeline.worker[at], start: timeline.start[at],
        end: timeline.start[at] + timeline.length[at], outcome: timeline.outcome[at] };
    }
    const [, part, stage, worker, start, item] = timeline.open[at - timeline.item.length];
    return { item, part, stage, worker, start, end: Math.max(reach.to, start + 1), outcome: null };
  }

  // With `lanes` each stage has a lane of its own in an item's row, and an empty one is between items.
  function raster(from, to, top, bottom, columns, rows, lanes) {
    const kinds = stages.length + 1;
    const time = (to - from) / columns;
    const height = (bottom - top) / rows;
    const cover = new Float32Array(rows * columns * kinds);
    const best = new Float32Array(rows * columns);
    owners = new Int32Array(rows * columns).fill(-1);
    for (let at = 0; at < timeline.count; at++) {
      const one = attempt(at);
      if (one.end <= from || one.start >= to) continue;
      const lane = lanes ? (one.stage + 0.5) / (stages.length + 1) : 0.5;
      const row = Math.floor((rowOf[one.item] + lane - top) / height);
      if (row < 0 || row >= rows) continue;
      const well = one.outcome === null || WELL.has(one.outcome);
      const kind = well ? one.stage : WRONG;
      const first = Math.max(0, Math.floor((one.start - from) / time));
      const last = Math.min(columns - 1, Math.max(first, Math.ceil((one.end - from) / time) - 1));
      for (let column = first; column <= last; column++) {
        const cell = row * columns + column;
        const left = from + column * time;
        const share = Math.min(one.end, left + time) - Math.max(one.start, left);
        const weight = well ? share : share + time; // what went wrong is never covered
        cover[cell * kinds + kind] += weight;
        if (weight > best[cell]) { best[cell] = weight; owners[cell] = at; }
      }
    }
    const z = [];
    for (let row = 0; row < rows; row++) {
      const line = new Array(columns);
      for (let column = 0; column < columns; column++) {
        const cell = (row * columns + column) * kinds;
        let kind = null;
        let most = 0;
        for (let k = 0; k < kinds; k++) {
          if (cover[cell + k] > most) { most = cover[cell + k]; kind = k; }
        }
        line[column] = kind;
      }
      z.push(line);
    }
    return z;
  }

  function drawTimeline() {
    const chart = byId("chart-timeline");
    const [from, to] = inView();
    const all = Math.max(order.length, 1);
    const [top, bottom] = rowsInView || [0, all];
    const width = Math.max(200, chart.clientWidth - 60);
    const high = Math.max(100, chart.clientHeight - 50);
    const shown = bottom - top;
    // Few items: a row each, from one whole item to the next. Many: as many rows as there is room.
    const exact = shown <= high / 3;
    const first = exact ? Math.floor(top) : top;
    const whole = Math.max(1, Math.ceil(bottom) - first);
    // A long item's parts are in several stages at once: where there is room they are told apart.
    const lanes = hasParts && exact && whole * (stages.length + 1) <= high / 4;
    const rows = exact ? whole * (lanes ? stages.length + 1 : 1) : Math.floor(high / 2);
    const end = exact ? first + whole : bottom;
    const columns = Math.min(1200, Math.floor(width));
    const colours = [...theme.stages, theme.failed];
    const scale = colours.flatMap((colour, k) => [
      [k / colours.length, colour], [(k + 1) / colours.length, colour]]);
    const named = exact && whole <= high / 14 && !phone();
    const labels = named ? order.slice(Math.max(0, first), first + whole) : [];
    draw("chart-timeline", [{
      type: "heatmap", z: raster(from, to, first, end, columns, rows, lanes),
      x0: from + (to - from) / columns / 2, dx: (to - from) / columns,
      y0: first + (end - first) / rows / 2, dy: (end - first) / rows,
      zmin: -0.5, zmax: colours.length - 0.5, colorscale: scale, showscale: false, zsmooth: false,
      ygap: exact && !lanes && rows <= high / 8 ? 2 : 0, hoverinfo: "none",
    }], {
      hovermode: "closest",
      margin: { l: named ? 190 : 46, r: 12, t: phone() ? 34 : 10, b: 30 },
      xaxis: { fixedrange: false },
      yaxis: {
        range: [bottom, top], minallowed: 0, maxallowed: all, gridcolor: theme.line, zeroline: false,
        showgrid: false,
        ...(named ? { tickmode: "array", tickvals: labels.map((_, at) => first + at + 0.5),
          ticktext: labels.map((item) => plain(shortened(timeline.names[item]))) }
          : { nticks: 6, tickformat: ",d" }),
      },
      shapes: runs.slice(1).map((run) => ({ type: "line", x0: run.offset, x1: run.offset, y0: 0,
        y1: 1, yref: "paper", line: { color: theme.muted, width: 1, dash: "dot" } })),
    });
    if (!chart.listening) {
      chart.listening = true;
      for (const kind of ["plotly_hover", "plotly_click"]) {
        chart.on(kind, (event) => {
          const [row, column] = event.points[0].pointNumber;
          tell(owners[row * (owners.length / chart.data[0].z.length) + column]);
        });
      }
    }
    byId("timeline-note").textContent = timeline.stride > 1
      ? ` It shows one of ${timeline.stride} items${hasParts ? " and parts" : ""}: there are too many`
        + " for a page." : "";
  }

  // The end of an address says most.
  function shortened(name) {
    const bare = name.replace(/^\w+:\/\//, "").replace(/\/$/, "");
    const tail = bare.slice(bare.lastIndexOf("/") + 1) || bare;
    return tail.length > 26 ? `${tail.slice(0, 12)}…${tail.slice(-13)}` : tail;
  }

  // The plotting library reads some HTML in its labels, and this comes from outside.
  function plain(text) {
    return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  }

  function tell(at) {
    if (at === undefined || at < 0) return;
    const one = attempt(at);
    const how = one.outcome === null ? "at work" : payload.outcomes[one.outcome];
    const name = document.createElement("b");
    name.textContent = timeline.names[one.item];
    const part = one.part ? ` part ${one.part},` : "";
    byId("timeline-readout").replaceChildren(name, `${part} ${stages[one.stage]}, worker ${one.worker}: `
      + `${how} after ${duration(one.end - one.start)}, from ${moment(one.start)}`);
  }

  function drawLegend() {
    const entries = [...stages.map((name, number) => [name, theme.stages[number]]),
      ["an attempt that went wrong", theme.failed]];
    byId("timeline-legend").replaceChildren(...entries.map(([name, colour]) => {
      const entry = document.createElement("span");
      const swatch = document.createElement("i");
      swatch.className = "swatch";
      swatch.style.background = colour;
      entry.append(swatch, name);
      return entry;
    }));
  }

  // The history

  function drawBusy() {
    const traces = [];
    const axes = {};
    const annotations = [];
    const each = 1 / stages.length;
    stages.forEach((stage, number) => {
      const top = 1 - number * each;
      const suffix = number ? number + 1 : "";
      axes[`yaxis${suffix}`] = yAxis({ domain: [top - each + 0.02, top - each * 0.3],
        range: [0, 100], tickvals: [0, 100], ticktext: ["0", "100"], showgrid: false });
      annotations.push({ text: plain(stage), xref: "paper", yref: "paper", x: 0,
        y: top - each * 0.3, xanchor: "left", yanchor: "bottom", showarrow: false,
        font: { color: theme.text, size: 12 } });
      for (const kind of ["busy", "blocked", "starved"]) {
        traces.push({ type: "scatter", mode: "lines", x: curves.time, y: curves.pools[stage][kind],
          yaxis: `y${suffix}`, stackgroup: stage, fillcolor: theme[kind],
          line: { width: 0, color: theme[kind] }, name: kind,
          hovertemplate: `%{y:.0f}% ${kind}<extra></extra>` });
      }
    });
    byId("chart-busy").style.height = `${40 + 62 * stages.length}px`;
    draw("chart-busy", traces, { ...axes, annotations,
      xaxis: { anchor: stages.length > 1 ? `y${stages.length}` : "y" } });
  }

  function drawLines(id, kind, format) {
    draw(id, stages.map((stage, number) => ({
      type: "scatter", mode: "lines", x: curves.time, y: curves.pools[stage][kind], name: plain(stage),
      line: { color: theme.stages[number], width: 1.8 },
      hovertemplate: `%{y:${format}} ${plain(stage)}<extra></extra>`,
    })), { yaxis: yAxis({}) });
  }

  function drawOne(id, values, format, unit, range) {
    draw(id, [{ type: "scatter", mode: "lines", x: curves.time, y: values,
      line: { color: theme.accent, width: 1.8 },
      hovertemplate: `%{y:${format}}${unit}<extra></extra>` }],
    { yaxis: yAxis(range ? { range } : {}) });
  }

  const CHARTS = {
    "chart-timeline": drawTimeline,
    "chart-busy": drawBusy,
    "chart-waiting": () => drawLines("chart-waiting", "waiting", ",.0f"),
    "chart-pace": () => drawLines("chart-pace", "pace", ",.1f"),
    "chart-memory": () => drawOne("chart-memory",
      curves.memory.map((bytes) => bytes && bytes / 1e9), ".2f", " GB"),
    "chart-processor": () => drawOne("chart-processor", curves.processor, ".0f", "%", [0, 100]),
  };

  function drawAnew() {
    drawn.clear();
    readTheme();
    drawLegend();
    drawAll();
  }

  // What the server of a live page adds

  function listen() {
    const seen = `${timeline.generation}.${timeline.item.length}.${timeline.items.length}`;
    const source = new EventSource(`events?seen=${seen}`);
    const note = byId.bind(null, "link");
    const say = (text, lost) => {
      if (note()) { note().textContent = ` ${text}`; note().classList.toggle("lost", lost); }
    };
    source.addEventListener("open", () => say("Live.", false));
    source.addEventListener("error", () => say("The run does not answer; trying again.", true));
    source.addEventListener("update", (event) => take(JSON.parse(event.data)));
    source.addEventListener("end", (event) => {
      source.close();
      const what = JSON.parse(event.data).run ? "The run" : "The server";
      say(`${what} has ended; this page stays as it is.`, false);
      document.dispatchEvent(new CustomEvent("penstock:end"));
    });
    const take = (news) => {
      for (const [name, html] of Object.entries(news.parts)) byId(`part-${name}`).innerHTML = html;
      if (news.sections !== undefined) takeSections(news.sections);
      runs = news.runs;
      if (news.curves) curves = news.curves;
      takeTimeline(news.timeline);
      say("Live.", false);
      readTheme();
      drawAll();
      document.dispatchEvent(new CustomEvent("penstock:news"));
    };
  }

  // Only what has changed is put in the place of what is there: a reader may be at work in the rest.
  function takeSections(html) {
    const made = document.createElement("template");
    made.innerHTML = html;
    const old = [...byId("sections").children];
    const fresh = [...made.content.children];
    const same = (one, other) => one.dataset.digest === other.dataset.digest
      && (one.dataset.digest !== undefined || one.textContent === other.textContent);
    fresh.forEach((one, at) => {
      if (!old[at]) byId("sections").append(one);
      else if (!same(old[at], one)) old[at].replaceWith(one);
    });
    old.slice(fresh.length).forEach((one) => one.remove());
    navigate();
  }

  function navigate() {
    byId("nav-sections").replaceChildren(
      ...[...document.querySelectorAll("#sections > section")].map((section) => {
        const link = document.createElement("a");
        link.href = `#${section.id}`;
        link.textContent = section.dataset.title;
        return link;
      }));
  }

  takeTimeline(payload.timeline);
  navigate();
  drawAnew();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAnew);
  let wide = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth !== wide) { wide = window.innerWidth; drawAll(); }
  });
  window.addEventListener("scroll", pump, { passive: true });
  if ("live" in document.documentElement.dataset) listen();
})();
