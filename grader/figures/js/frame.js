// The frame every picture stands in: title, controls, stage, legend, sentence, table. A picture's own file follows
// this one in the same module and ends with `export default figure({…})`. Numbers come from Python; this draws them.
const SVG = 'http://www.w3.org/2000/svg';
let serial = 0;

function h(tag, props = {}, ...kids) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === false || value == null) continue;
    if (typeof value === 'function' || key === 'checked' || key === 'value') node[key] = value;
    else node.setAttribute(key, value === true ? '' : value);
  }
  node.append(...kids.flat(2).filter((kid) => kid != null));
  return node;
}

const num = (value, digits = 0) => Number(value).toLocaleString('en-US', { maximumFractionDigits: digits });
const fix = (value, digits = 1) => Number(value).toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
const scale = (a, b, x, y) => (v) => x + ((v - a) / (b - a || 1)) * (y - x);
const clamp = (v, lo, hi) => Math.min(hi, Math.max(lo, v));
const clock = (s) => (s === 0 ? '0 s' : s < 0.9995 ? `${Math.round(s * 1000)} ms` : s < 120 ? `${fix(s, s < 10 ? 1 : 0)} s` : s < 3600 ? `${num(s / 60)} min` : s < 86400 ? `${num(s / 3600, 1)} h` : `${num(s / 86400, 1)} d`);
const exact = (s) => (s < 0.9995 ? `${Math.round(s * 1000)} ms` : s < 100 ? `${fix(s, 2)} s` : clock(s));
const bold = (text) => text.split('**').map((part, i) => (i % 2 ? h('strong', {}, part) : part));

function ticks(lo, hi, about = 6) {
  const raw = (hi - lo) / about, power = 10 ** Math.floor(Math.log10(raw || 1));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw - 1e-12) || 1;
  const out = [];
  for (let v = Math.ceil(lo / step - 1e-9) * step; v <= hi + step * 1e-9; v += step) out.push(Math.abs(v) < 1e-12 ? 0 : +v.toPrecision(12));
  return out;
}

function timeTicks(hi, about = 6) {
  if (hi <= 120) return ticks(0, hi, about);
  const step = [30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400].find((v) => hi / v <= about) || 86400;
  return Array.from({ length: Math.floor(hi / step) + 1 }, (_, i) => i * step);
}

// Reuses the elements of the last drawing in order, so that focus survives and marked elements (class mv) glide.
class Pen {
  constructor(svg, id) {
    Object.assign(this, { svg, id, layer: document.createElementNS(SVG, 'g') });
    const hatch = (name, role, path, size) => `<pattern id="${id}-${name}" width="${size}" height="${size}" patternUnits="userSpaceOnUse"><path d="${path}" class="fg-hatch c-${role}"/></pattern>`;
    const slash = 'M-1 1l2 -2M0 7l7 -7M6 8l2 -2', back = 'M-1 6l2 2M0 0l7 7M6 -1l2 2';
    svg.innerHTML = `<defs>${['bad', 'wait', 'ok', 'main', 'warn', 'alt', 'ink'].map((r) => hatch(`slash-${r}`, r, slash, 7) + hatch(`back-${r}`, r, back, 7) + hatch(`dots-${r}`, r, 'M1 2h1.5M4 5h1.5', 6)).join('')}</defs>`;
    svg.append(this.layer);
  }
  start(width, height) {
    const on = document.activeElement;
    this.focused = this.layer.contains(on) ? on.dataset.key : null;
    this.at = 0;
    this.W = width;
    this.svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    this.svg.style.height = `${height}px`;
  }
  finish() {
    while (this.layer.childNodes.length > this.at) this.layer.lastChild.remove();
    if (this.focused) [...this.layer.children].find((node) => node.dataset.key === this.focused)?.focus({ preventScroll: true });
  }
  put(tag, attrs, text = '') {
    let node = this.layer.childNodes[this.at];
    if (!node || node.tagName !== tag) {
      const fresh = document.createElementNS(SVG, tag);
      if (node) node.replaceWith(fresh); else this.layer.append(fresh);
      node = fresh;
    } else for (const { name } of [...node.attributes]) if (!(name in attrs)) node.removeAttribute(name);
    for (const [key, value] of Object.entries(attrs)) if (value != null && node.getAttribute(key) !== String(value)) node.setAttribute(key, value);
    if (node.textContent !== String(text)) node.textContent = text;
    node.onclick = node.onkeydown = node.onpointerdown = null;
    this.at += 1;
    return node;
  }
  line(x1, y1, x2, y2, cls, more) { return this.put('line', { x1, y1, x2, y2, class: cls, ...more }); }
  rect(x, y, width, height, cls, more) { return this.put('rect', { x, y, width: Math.max(0, width), height: Math.max(0, height), class: cls, ...more }); }
  dot(cx, cy, r, cls, more) { return this.put('circle', { cx, cy, r, class: cls, ...more }); }
  path(d, cls, more) { return this.put('path', { d, class: cls, ...more }); }
  text(x, y, text, cls = '', anchor = 'start', more) { return this.put('text', { x, y, class: `tx ${cls}`, 'text-anchor': anchor, ...more }, text); }
  cross(x, y, r, cls) { return this.path(`M${x - r} ${y - r}l${2 * r} ${2 * r}M${x - r} ${y + r}l${2 * r} ${-2 * r}`, `ln ${cls}`); }
  tick(x, y, r, cls) { return this.path(`M${x - r} ${y}l${r * 0.75} ${r * 0.75}l${r * 1.25} ${-r * 1.5}`, `ln ${cls}`); }
  curve(points, cls, more) { return this.path(points.length ? `M${points.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join('L')}` : 'M0 0', `ln ${cls}`, more); }
  hatched(pattern, role) { return { style: `fill:url(#${this.id}-${pattern}-${role})` }; }
  tip(node, text) { const t = document.createElementNS(SVG, 'title'); t.textContent = text; node.append(t); return node; }
  axisX(x, values, top, bottom, format = num, label = '') {
    for (const v of values) { this.line(x(v), top, x(v), bottom, 'grid'); this.text(x(v), bottom + 16, format(v), 'mute n', 'middle'); }
    if (label) this.text((x(values[0]) + x(values[values.length - 1])) / 2, bottom + 33, label, 'mute', 'middle');
  }
  axisY(y, values, left, right, format = num, label = '') {
    for (const v of values) { this.line(left, y(v), right, y(v), 'grid'); this.text(left - 8, y(v) + 4, format(v), 'mute n', 'end'); }
    if (label) this.text(left - 8, y(values[values.length - 1]) - 12, label, 'mute', 'start', { transform: `translate(${-Math.min(left - 10, 34)} 0)` });
  }
  // A pill with a word: states, verdicts. Returns its width.
  pill(x, y, text, cls, anchor = 'start') {
    const w = text.length * 6.6 + 18, left = anchor === 'middle' ? x - w / 2 : anchor === 'end' ? x - w : x;
    this.rect(left, y - 11, w, 22, `tint ln1 ${cls}`, { rx: 11 });
    this.text(left + w / 2, y + 4, text, 'b', 'middle');
    return w;
  }
  // Makes a drawn thing a button: mouse, Enter and Space. What its label says up to the colon must be its own.
  hot(node, label, act, pressed) {
    for (const [k, v] of Object.entries({ role: 'button', tabindex: 0, 'aria-label': label, 'aria-pressed': pressed })) if (v != null) node.setAttribute(k, v);
    node.classList.add('hot');
    node.dataset.key = label.split(':')[0];
    node.onclick = act;
    node.onkeydown = (event) => { if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); act(event); } };
    return node;
  }
}

const SWATCH = {
  line: (c) => `<path d="M1 6H25" class="ln ${c}"/>`, dash: (c) => `<path d="M1 6H25" class="ln dash ${c}"/>`, dots: (c) => `<path d="M2 6H25" class="ln dots ${c}"/>`,
  dot: (c) => `<circle cx="13" cy="6" r="4.5" class="fill ${c}"/>`, ring: (c) => `<circle cx="13" cy="6" r="4" class="ln paper ${c}"/>`,
  cross: (c) => `<path d="M9 2l8 8M9 10l8 -8" class="ln ${c}"/>`, box: (c) => `<rect x="3" y="0.5" width="20" height="11" rx="2" class="fill ${c}"/>`,
  open: (c) => `<rect x="3" y="0.5" width="20" height="11" rx="2" class="open ${c}"/>`,
  tint: (c) => `<rect x="3" y="0.5" width="20" height="11" rx="2" class="tint ln1 ${c}"/>`, diamond: (c) => `<path d="M13 0l6 6l-6 6l-6 -6z" class="fill ${c}"/>`,
};
function swatch(shape, role, id) {
  const span = h('span', { class: 'fg-swatch', 'aria-hidden': 'true' });
  const inner = SWATCH[shape] ? SWATCH[shape](`c-${role}`) : `<rect x="3" y="0.5" width="20" height="11" rx="2" class="ln1 c-${role}" style="fill:url(#${id}-${shape}-${role})"/>`;
  span.innerHTML = `<svg width="26" height="12" viewBox="0 0 26 12">${inner}</svg>`;
  return span;
}

const CONTROLS = {
  slider(spec, id, get, set) {
    const stops = spec.stops, index = (v) => stops.reduce((best, s, i) => (Math.abs(s - v) < Math.abs(stops[best] - v) ? i : best), 0);
    const value = (i) => (stops ? stops[+i] : +i);
    const say = (v) => (spec.unit === '%' ? `${num(v * 100, 2)}%` : spec.unit === 's' && stops ? clock(v) : spec.unit === '$' ? `$${num(v, 2)}` : `${num(v, 4)}${spec.unit ? ` ${spec.unit}` : ''}`);
    const out = h('output', { for: id });
    const input = h('input', { type: 'range', id, min: stops ? 0 : spec.low, max: stops ? stops.length - 1 : spec.high, step: stops ? 1 : spec.step });
    const show = (v) => {
      input.value = stops ? index(v) : v;
      out.textContent = say(v);
      input.setAttribute('aria-valuetext', say(v));
      input.style.setProperty('--at', `${(100 * (input.value - input.min)) / (input.max - input.min || 1)}%`);
    };
    input.oninput = () => { show(value(input.value)); set(spec.name, value(input.value)); };
    return { node: h('div', { class: 'fg-slider' }, h('label', { for: id }, spec.label), out, input), show };
  },
  choice(spec, id, get, set) {
    const radios = spec.options.map(([v, text], i) => {
      const input = h('input', { type: 'radio', name: id, id: `${id}-${i}`, onchange: () => set(spec.name, v) });
      return { v, input, label: h('label', { for: `${id}-${i}` }, text) };
    });
    const node = h('fieldset', { class: 'fg-choice' }, h('legend', {}, spec.label), h('div', {}, radios.map((r) => [r.input, r.label])));
    return { node, show: (v) => radios.forEach((r) => { r.input.checked = r.v === v; }) };
  },
  switch(spec, id, get, set) {
    const input = h('input', { type: 'checkbox', id, onchange: () => set(spec.name, input.checked) });
    return { node: h('div', { class: 'fg-switch' }, input, h('label', { for: id }, spec.label)), show: (v) => { input.checked = v; } };
  },
  text(spec, id, get, set) {
    const input = h('textarea', { id, rows: spec.rows, spellcheck: 'false', maxlength: spec.limit, oninput: () => set(spec.name, input.value) });
    return { node: h('div', { class: 'fg-text' }, h('label', { for: id }, spec.label), input), show: (v) => { if (input.value !== v) input.value = v; } };
  },
};

function table(data) {
  const cell = (tag) => (v) => h(tag, { class: typeof v === 'number' ? 'n' : null, scope: tag === 'th' ? 'col' : null }, typeof v === 'number' ? num(v, 4) : String(v));
  return h('div', { class: 'fg-scroll', tabindex: 0 }, h('table', {}, h('caption', {}, data.caption), h('thead', {}, h('tr', {}, data.columns.map(cell('th')))),
    h('tbody', {}, data.rows.map((row) => h('tr', {}, row.map(cell('td')))))));
}

function player(spec, ctx, draw) {
  const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
  const input = h('input', { type: 'range', min: 0, max: 1000, step: 1, 'aria-label': spec.label || 'Position in time' });
  const button = h('button', { type: 'button', class: 'fg-play' });
  let running = null;
  const show = () => { input.value = 1000 * ctx.ui.at; input.style.setProperty('--at', `${100 * ctx.ui.at}%`); button.textContent = running ? '❚❚ Pause' : ctx.ui.at >= 1 ? '↺ Again' : '▶ Play'; };
  const stop = () => { clearTimeout(running); cancelAnimationFrame(running); running = null; show(); };
  const go = () => {
    if (ctx.ui.at >= 1) ctx.ui.at = 0;
    const seconds = spec.seconds || 8, began = performance.now(), from = ctx.ui.at;
    const next = () => {
      if (!button.isConnected) return stop();
      ctx.ui.at = still ? Math.min(1, ctx.ui.at + 0.125) : Math.min(1, from + (performance.now() - began) / 1000 / seconds);
      draw();
      if (ctx.ui.at >= 1) return stop();
      running = still ? setTimeout(next, 700) : requestAnimationFrame(next);
      return show();
    };
    running = 1;
    next();
  };
  button.onclick = () => (running ? stop() : go());
  input.oninput = () => { stop(); ctx.ui.at = input.value / 1000; show(); draw(); };
  ctx.ui.at = spec.from ?? 1;
  show();
  return h('div', { class: 'fg-player' }, button, input);
}

function figure(spec) {
  function render({ model, el }) {
    const id = `fg${(serial += 1)}-${Math.random().toString(36).slice(2, 7)}`;
    const ctx = { id, ui: {}, model, get params() { return model.get('params'); }, get scene() { return model.get('view').scene; } };
    ctx.set = (name, value) => { model.set('params', { ...model.get('params'), [name]: value }); model.save_changes(); };
    const box = h('div', { class: `fg fig-${spec.name}`, role: 'group', 'aria-label': model.get('title') });
    // JupyterLab's command mode would swallow the arrow keys of every slider.
    box.addEventListener('keydown', (event) => event.stopPropagation());
    const again = h('button', { type: 'button', class: 'fg-reset', title: 'Put every control back', onclick: () => { ctx.ui.reset?.(); model.set('params', { ...model.get('start') }); model.save_changes(); } }, 'Reset');
    const controls = model.get('controls').filter((c) => CONTROLS[c.kind]).map((c, i) => ({ name: c.name, ...CONTROLS[c.kind](c, `${id}-c${i}`, null, (n, v) => ctx.set(n, v)) }));
    const svg = document.createElementNS(SVG, 'svg'), panel = h('div', { class: 'fg-panel' });
    svg.setAttribute('role', spec.buttons ? 'group' : 'img');
    svg.setAttribute('aria-label', `${model.get('title')}. The sentence and the table below say what it shows.`);
    const stage = h('div', { class: 'fg-stage' }, spec.draw ? svg : null, spec.panel ? panel : null);
    const legend = h('div', { class: 'fg-legend' }), say = h('p', { class: 'fg-say', role: 'status', 'aria-live': 'polite' });
    const details = h('details', { class: 'fg-data' }, h('summary', {}, 'The numbers as a table'));
    const pen = new Pen(svg, id);
    function draw() {
      const width = Math.floor(stage.clientWidth || 0);
      if (width < 40) return;
      ctx.W = clamp(width, 340, 900);
      if (spec.panel) spec.panel(panel, ctx.scene, ctx);
      if (spec.draw) { pen.start(ctx.W, spec.height(ctx.W, ctx.scene, ctx)); spec.draw(pen, ctx.scene, ctx); pen.finish(); }
    }
    ctx.redraw = draw;
    const fill = () => { if (details.open) details.replaceChildren(details.firstChild, table(model.get('view').table)); };
    details.addEventListener('toggle', fill);
    function refresh() {
      const { sentence } = model.get('view');
      for (const control of controls) control.show(ctx.params[control.name]);
      legend.replaceChildren(...(spec.legend ? spec.legend(ctx.scene, ctx) : []).map(([shape, role, text]) => h('span', {}, swatch(shape, role, id), text)));
      if (say.dataset.text !== sentence) { say.dataset.text = sentence; say.replaceChildren(...bold(sentence)); }
      fill();
      draw();
    }
    box.append(...[h('div', { class: 'fg-head' }, h('div', {}, h('div', { class: 'fg-title' }, model.get('title')), h('div', { class: 'fg-question' }, model.get('question'))), controls.length ? again : null),
      controls.length ? h('div', { class: 'fg-controls' }, controls.map((c) => c.node)) : null, stage,
      spec.play ? player(spec.play, ctx, draw) : null, legend, say, details].filter(Boolean));
    el.append(box);
    const watch = new ResizeObserver(draw);
    watch.observe(stage);
    model.on('change:view', refresh);
    model.on('change:params', refresh);
    refresh();
    return () => { watch.disconnect(); model.off('change:view', refresh); model.off('change:params', refresh); };
  }
  return { render };
}
