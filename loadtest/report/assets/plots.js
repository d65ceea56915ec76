/* Draws the plots of a page from its data. Plots of one `sync` show one moment and zoom together. */
(() => {
  "use strict";
  const root = document.documentElement;
  const {columns, plots} = JSON.parse(document.getElementById("data").textContent);
  const drawn = new Map(); // id → uPlot
  const hidden = new Map(); // id → names of lines that were hidden by hand
  const zooms = new Map(); // sync → [min, max]
  const PAPER = 640; // what A4 and Letter have room for: the page is as wide as the screen when it is told to print
  let scale = 1; // 2 while printing: a canvas prints as sharp as it is large

  const css = name => getComputedStyle(root).getPropertyValue(name).trim();
  const hue = number => css(`--hue-${number % 8}`);

  /* ---- values as text ---- */

  const digits = value => {
    const size = Math.abs(value);
    if (size >= 99.95) return Math.round(value).toLocaleString("en");
    return size >= 9.995 ? value.toFixed(1) : size >= 0.995 || size === 0 ? value.toFixed(2) : value.toPrecision(2);
  };
  const powers = (value, base, names) => {
    let power = 0;
    while (Math.abs(value) >= base && power < names.length - 1) { value /= base; power++; }
    return `${power ? digits(value) : Math.round(value)} ${names[power]}`;
  };
  const BYTES = ["B", "KiB", "MiB", "GiB", "TiB"];
  const clock = seconds => {
    const whole = Math.floor(seconds + 1e-9), two = number => String(number).padStart(2, "0");
    const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
    const part = seconds - whole > 0.005 ? (seconds - whole).toFixed(2).slice(1).replace(/0$/, "") : "";
    if (seconds < 60) return `${whole}${part} s`;
    return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}${part}`;
  };
  const duration = seconds => {
    if (seconds === 0) return "0";
    if (seconds < 1) return `${digits(seconds * 1e3)} ms`;
    return seconds < 120 ? `${digits(seconds)} s` : clock(seconds);
  };
  const percent = share => `${+(share * 100).toFixed(share > 0.999 ? 6 : 3)} %`;
  const TEXT = {
    count: value => Number.isInteger(value) || value >= 100 ? Math.round(value).toLocaleString("en") : digits(value),
    per_s: value => `${value ? digits(value) : 0}/s`,
    clock_s: clock,
    s: duration,
    ms: value => duration(value / 1e3),
    bytes: value => powers(value, 1024, BYTES),
    bytes_per_s: value => `${powers(value, 1024, BYTES)}/s`,
    share: value => `${(value * 100).toFixed(value > 0.99 && value < 1 ? 2 : 1)} %`,
    cores: value => value.toFixed(value < 0.1 ? 3 : 2),
    nines: value => percent(1 - 10 ** -value),
    usd: value => `$${digits(value)}`,
  };
  const short = value => {
    const size = Math.abs(value);
    const trim = (number, letter) => `${+number.toPrecision(3)}${letter}`;
    if (size >= 1e9) return trim(value / 1e9, "G");
    if (size >= 1e6) return trim(value / 1e6, "M");
    return size >= 1e4 ? trim(value / 1e3, "k") : `${+value.toPrecision(4)}`;
  };
  const AXIS = {
    count: short,
    per_s: value => `${short(value)}/s`,
    clock_s: clock,
    s: value => value === 0 ? "0" : value < 1 ? `${+(value * 1e3).toPrecision(3)} ms` : value < 600 ? `${+value.toPrecision(4)} s` : clock(value),
    ms: value => value === 0 ? "0" : value < 1e3 ? `${+value.toPrecision(3)} ms` : `${+(value / 1e3).toPrecision(3)} s`,
    bytes: value => powers(value, 1024, BYTES).replace(/\.0+(?= )/, ""),
    bytes_per_s: value => `${powers(value, 1024, BYTES).replace(/\.0+(?= )/, "")}/s`,
    share: value => `${+(value * 100).toPrecision(3)} %`,
    cores: value => `${+value.toPrecision(3)}`,
    nines: value => value ? percent(1 - 10 ** -value) : "",
    usd: value => `$${short(value)}`,
  };
  const CLOCK = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800];
  const WHOLE = Array.from({length: 13}, (_, power) => [1, 2, 5].map(number => number * 10 ** power)).flat();
  const TWOS = Array.from({length: 50}, (_, power) => 2 ** power);

  /* ---- what a plot is made of ---- */

  const NINES = [0, 0.30103, 1, 2, 3, 4, 5, 6, 7, 8];
  const axis = (unit, log, side) => {
    const base = {
      stroke: css("--ink-2"), font: `${12 * scale}px ${css("--sans")}`, gap: 5 * scale,
      grid: {stroke: css("--line"), width: scale}, ticks: {stroke: css("--line"), width: scale, size: 5 * scale},
      values: (_, splits) => splits.map(value => value === null ? null : AXIS[unit](value)),
      size: (side ? 64 : 32) * scale, space: (side ? 34 : unit === "nines" ? 44 : 76) * scale,
    };
    if (unit === "nines") base.splits = (_, number, min, max) => NINES.filter(nines => nines >= min - 1e-9 && nines <= max + 1e-9);
    if (unit === "clock_s") base.incrs = CLOCK;
    if (unit.startsWith("bytes")) base.incrs = TWOS;
    if (unit === "count" && !log) base.incrs = WHOLE;
    if (log) {
      // Names for each power of ten, and for 2 and 5 where there are few; uPlot names all or none.
      base.filter = (u, splits) => {
        const decades = Math.log10(splits[splits.length - 1] / splits[0]);
        const room = side ? Infinity : (u.width / scale - 80) / decades; // of a decade, for names beside each other
        const named = decades > 3 || room < 130 ? [1] : decades > 1.3 || room < 220 ? [1, 3] : [1, 2, 5];
        return splits.map(value => {
          const first = Math.round(value / 10 ** Math.floor(Math.log10(value) + 1e-9));
          return named.includes(first) ? value : null;
        });
      };
      base.grid.filter = (u, splits) => splits.map(value => Math.abs(Math.log10(value) % 1) < 1e-9 ? value : null);
      base.space = (side ? 10 : 20) * scale;
    }
    return base;
  };

  const drawMarks = (u, marks) => {
    const {ctx, bbox} = u, ratio = devicePixelRatio, k = ratio * scale;
    const shown = marks.map(mark => ({mark, x: u.valToPos(mark.at, "x", true)}))
      .filter(({x}) => x >= bbox.left - 1 && x <= bbox.left + bbox.width + 1);
    ctx.save();
    ctx.font = `600 ${11 * k}px ${css("--sans")}`;
    ctx.textBaseline = "middle";
    ctx.textAlign = "left";
    let taken = -Infinity;
    shown.forEach(({mark, x}, place) => {
      const ink = mark.hue === null ? css("--bad") : hue(mark.hue);
      const top = bbox.top - 18 * k, height = 15 * k;
      ctx.strokeStyle = ctx.fillStyle = ink;
      ctx.lineWidth = 1.25 * k;
      ctx.setLineDash([4 * k, 3 * k]);
      ctx.beginPath();
      ctx.moveTo(x, top + height);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      const number = mark.number ? String(mark.number) : "";
      const room = (place + 1 < shown.length ? shown[place + 1].x - 14 * k : bbox.left + bbox.width + 8 * k) - x;
      const pill = number ? ctx.measureText(number).width + 9 * k : 0;
      if (number && x - pill / 2 > taken) {
        ctx.setLineDash([]);
        ctx.beginPath();
        ctx.roundRect(x - pill / 2, top, pill, height, height / 2);
        ctx.fill();
        ctx.fillStyle = css("--surface");
        ctx.fillText(number, x - ctx.measureText(number).width / 2, top + height / 2 + 0.5 * k);
        taken = x + pill / 2;
        ctx.fillStyle = ink;
      }
      if (pill / 2 + 5 * k + ctx.measureText(mark.name).width < room) {
        ctx.fillText(mark.name, x + pill / 2 + 4 * k, top + height / 2 + 0.5 * k);
        taken = x + pill / 2 + 5 * k + ctx.measureText(mark.name).width;
      }
    });
    ctx.restore();
  };

  const bridged = values => { // uPlot joins over undefined and breaks at null
    const runs = [];
    for (let place = 0; place < values.length; place++) {
      if (values[place] !== null) continue;
      const from = place;
      while (place < values.length && values[place] === null) place++;
      if (from && place < values.length) runs.push([from, place]);
    }
    const lengths = runs.map(([from, to]) => to - from).sort((a, b) => a - b);
    const most = lengths.length ? 3 * lengths[lengths.length >> 1] : 0;
    const made = values.slice();
    for (const [from, to] of runs) if (to - from <= most) made.fill(undefined, from, to);
    return made;
  };

  const seen = (u, index) => { // the greatest value of a line in what is shown
    const [from, to] = u.series[0].idxs || [0, u.data[0].length - 1];
    let most = null;
    for (let place = from; place <= to; place++) {
      const value = u.data[index][place];
      if (value !== null && value !== undefined && (most === null || value > most)) most = value;
    }
    return most;
  };

  const gist = (plot, u, index) => { // what a legend says of a line while nothing is pointed at
    const [x, y] = [u.data[0], u.data[index]];
    const {told} = plot.lines[index - 1];
    if (told) return told;
    if (plot.x_unit === "nines") {
      const place = x.findIndex(nines => nines >= 2);
      const value = place < 0 ? null : y[place];
      return value === null ? "–" : `p99 ${TEXT[plot.unit](value)}`;
    }
    if (plot.unit === "share" && plot.x_log) {
      const place = y.findIndex(share => share >= 0.5);
      return place < 0 ? "–" : `p50 ${TEXT[plot.x_unit](x[place])}`;
    }
    const most = seen(u, index);
    return most === null ? "–" : `max ${TEXT[plot.unit](most)}`;
  };

  const options = (plot, box) => {
    const marked = plot.marks.length > 0, log = plot.log;
    const off = hidden.get(plot.id);
    const line = (each, place) => {
      const number = each.hue ?? place % 8;
      return {
        label: each.name, stroke: hue(number), width: (each.filled ? 1.75 : 1.5) * scale,
        dash: each.dashed || place >= 8 ? [6 * scale, 4 * scale] : undefined,
        fill: each.filled ? css(`--wash-${number}`) : undefined,
        paths: each.steps ? uPlot.paths.stepped({align: 1}) : undefined,
        points: {show: each.sparse ? undefined : false, size: 4 * scale}, spanGaps: false, show: off ? !off.has(each.name) : each.shown,
        value: (u, value, index, at) => {
          if (at !== null && at !== undefined) return value === null || value === undefined ? "–" : TEXT[plot.unit](value);
          return gist(plot, u, index);
        },
      };
    };
    const whole = columns[plot.x];
    return {
      width: (scale === 2 ? PAPER : Math.max(box.clientWidth, 120)) * scale, height: height(plot) * scale,
      padding: [(marked ? 24 : 10) * scale, 14 * scale, 0, 0],
      scales: {
        x: {time: false, distr: plot.x_log ? 3 : 1, range: (u, min, max) => min === max ? [min, max + 1] : [min, max]},
        y: {distr: log ? 3 : 1, range: log ? undefined : (u, min, max) => {
          if (plot.unit === "share" && max !== null && max <= 1.0001 && max > 0.5) return [0, 1];
          return [0, max > 0 ? uPlot.rangeNum(0, max, 0.08, true)[1] : 1];
        }},
      },
      axes: [axis(plot.x_unit, plot.x_log, false), axis(plot.unit, log, true)],
      series: [{label: plot.x_label || (plot.x_unit === "clock_s" ? "at" : plot.x_unit === "nines" ? "percentile" : "within"),
        value: (u, value) => value === null || value === undefined ? "" : TEXT[plot.x_unit](value)}, ...plot.lines.map(line)],
      cursor: {
        drag: {x: true, y: false, dist: 6}, points: {size: 7, width: 1.5},
        sync: plot.sync ? {key: plot.sync, setSeries: false, scales: ["x", null],
          // Cursors go together by themselves; zooms by `zoom`, so that one drag is one zoom.
          filters: {pub: kind => kind === "mousemove" || kind === "mouseleave", sub: () => true}} : undefined,
      },
      legend: {markers: {width: 0, fill: (u, index) => u.series[index].stroke(u, index)}},
      hooks: {
        // What is said of whole lines is of what is shown of them: it changes with a zoom.
        draw: [u => { if (!(u.cursor.left >= 0)) u.setLegend({idx: null}, false); }, ...(marked ? [u => drawMarks(u, plot.marks)] : [])],
        setScale: [(u, key) => {
          if (key !== "x" || !u.ready) return;
          const {min, max} = u.scales.x;
          const all = min <= whole[0] && max >= whole[whole.length - 1];
          zoom(plot.sync || plot.id, all ? null : [min, max]);
        }],
        setSeries: [(u, index) => {
          if (index === null) return;
          hidden.set(plot.id, new Set(u.series.filter((series, place) => place && !series.show).map(series => series.label)));
          u.root.querySelectorAll(".u-series:not(:first-child) th").forEach((label, place) => label.setAttribute("aria-pressed", String(u.series[place + 1].show)));
        }],
        setCursor: [u => u.root.classList.toggle("pointed", u.cursor.left >= 0)],
        ready: [u => { u.ready = true; }],
      },
    };
  };

  const height = plot => innerWidth < 600 ? (plot.wide ? 240 : 190) : plot.wide ? 340 : 220;

  /* ---- zooming: all of a sync at once ---- */

  let zooming = false;
  const zoom = (sync, range) => {
    if (zooming) return;
    zooming = true;
    if (range) zooms.set(sync, range); else zooms.delete(sync);
    for (const plot of plots) {
      if ((plot.sync || plot.id) !== sync || !drawn.has(plot.id)) continue;
      const u = drawn.get(plot.id), x = columns[plot.x];
      const [min, max] = range || [x[0], x[x.length - 1]];
      if (u.scales.x.min !== min || u.scales.x.max !== max) u.setScale("x", {min, max});
    }
    zooming = false;
    for (const bar of document.querySelectorAll("[data-zoom]")) if (bar.dataset.zoom === sync) press(bar, range);
  };
  const press = (bar, range) => {
    for (const button of bar.querySelectorAll("button")) {
      const own = button.range;
      button.setAttribute("aria-pressed", String(range === null ? own === null : own !== null && own[0] === range[0] && own[1] === range[1]));
    }
  };
  const buttons = bar => {
    const plot = plots.find(each => each.sync === bar.dataset.zoom && each.marks.length);
    const any = plots.find(each => each.sync === bar.dataset.zoom);
    if (!any) return;
    const x = columns[any.x], end = x[x.length - 1];
    const button = (name, range, number) => {
      const made = document.createElement("button");
      made.type = "button";
      if (number) {
        const badge = document.createElement("b");
        badge.textContent = number;
        made.append(badge);
      }
      made.append(name);
      made.range = range;
      made.addEventListener("click", () => zoom(bar.dataset.zoom, range));
      bar.append(made);
    };
    button("Whole run", null);
    for (const mark of plot ? plot.marks : []) {
      if (!mark.number || mark.at > end) continue;
      const until = Math.min(end, mark.until ?? mark.at + 30), lead = Math.max(0.5, (until - mark.at) * 0.08);
      button(`${mark.name} · at ${clock(mark.at)}`, [Math.max(x[0], mark.at - lead), until], mark.number);
    }
    const hint = document.createElement("span");
    hint.textContent = "Drag in a plot to zoom, double-click to see all again.";
    bar.append(hint);
    bar.hidden = false;
    press(bar, null);
  };

  /* ---- drawing, and drawing again where width, colours or paper change ---- */

  const touch = over => { // one finger across moves the cursor; up and down scrolls the page
    const move = event => {
      if (event.touches.length !== 1) return;
      const {clientX, clientY} = event.touches[0];
      over.dispatchEvent(new MouseEvent("mousemove", {clientX, clientY, bubbles: true}));
    };
    over.addEventListener("touchstart", move, {passive: true});
    over.addEventListener("touchmove", move, {passive: true});
  };

  const draw = plot => {
    const box = document.querySelector(`[data-plot="${plot.id}"]`);
    if (!box) return;
    drawn.get(plot.id)?.destroy();
    const u = new uPlot(options(plot, box), [columns[plot.x], ...plot.lines.map(line => line.sparse ? bridged(columns[line.values]) : columns[line.values])], box);
    drawn.set(plot.id, u);
    const canvas = u.root.querySelector("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${plot.title}: ${plot.lines.map((line, place) => `${line.name} ${gist(plot, u, place + 1)}`).join(", ")}`);
    const legend = u.root.querySelector(".u-legend"); // its rows are buttons: no table to those who hear it
    legend.setAttribute("role", "group");
    legend.setAttribute("aria-label", `Lines of: ${plot.title}`);
    for (const part of legend.querySelectorAll("tbody, tr, td")) part.setAttribute("role", "presentation");
    const labels = [...u.root.querySelectorAll(".u-series:not(:first-child) th")];
    labels.forEach((label, place) => {
      label.tabIndex = 0;
      label.setAttribute("role", "button");
      label.setAttribute("aria-pressed", String(u.series[place + 1].show));
      label.title = "Show or hide";
      label.addEventListener("keydown", event => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        label.click();
      });
    });
    touch(u.over);
    const range = zooms.get(plot.sync || plot.id);
    if (range) { zooming = true; u.setScale("x", {min: range[0], max: range[1]}); zooming = false; }
    box.width = box.clientWidth;
    steady(u);
  };
  const steady = u => { // values of a moment are shorter than those of the whole: the page must not jump under the cursor
    const legend = u.root.querySelector(".u-legend");
    legend.style.minHeight = "0";
    legend.style.minHeight = `${legend.offsetHeight}px`;
  };
  const all = () => plots.forEach(draw);

  all();
  document.querySelectorAll("[data-zoom]").forEach(buttons);
  const resized = new ResizeObserver(entries => {
    if (scale !== 1) return;
    for (const {target} of entries) {
      if (target.width === target.clientWidth) continue;
      target.width = target.clientWidth;
      const plot = plots.find(each => each.id === target.dataset.plot);
      drawn.get(plot.id).setSize({width: Math.max(target.clientWidth, 120), height: height(plot)});
      steady(drawn.get(plot.id));
    }
  });
  for (const box of document.querySelectorAll("[data-plot]")) if (drawn.has(box.dataset.plot)) resized.observe(box);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
  let unfolded = []; // paper cannot be clicked
  addEventListener("beforeprint", () => {
    unfolded = [...document.querySelectorAll("details:not([open])")];
    for (const details of unfolded) details.open = true;
    root.classList.add("printing"); scale = 2; all();
  });
  addEventListener("afterprint", () => {
    for (const details of unfolded) details.open = false;
    root.classList.remove("printing"); scale = 1; all();
  });
  root.dataset.plots = String(drawn.size);
})();
