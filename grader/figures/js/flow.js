// Section 1: boxes and arrows; the request walks, a click kills a part.
const SITES = {
  prod: { client: [0, 1, 'client', 'browser'], balancer: [1, 1, 'balancer', 'TLS'], metrics: [1, 2.25, 'metrics', 'Prometheus'], 'api 1': [2, 0, 'api 1', 'replica'], 'api 2': [2, 1, 'api 2', 'replica'], 'api 3': [2, 2, 'api 3', 'replica'],
    redis: [3, 0, 'Redis', 'limits, cache, queue'], database: [3, 1, 'database', 'users, tasks'], worker: [3, 2, 'worker', 'long jobs'], 'lab-large': [4, 0.35, 'lab-large', 'main model'], 'lab-small': [4, 1.65, 'lab-small', 'fallback'] },
  dev: { client: [0, 1, 'client', 'you'], process: [2, 1, 'main.py', 'API + users + cache'], 'lab-large': [4, 1, 'lab-large', 'the model'] },
};
const LINKS = { dev: [['client', 'process'], ['process', 'lab-large']], prod: [['client', 'balancer'], ...['api 1', 'api 2', 'api 3'].flatMap((a) => [['balancer', a], [a, 'redis'], [a, 'database']]), ['worker', 'redis']] };

export default figure({
  name: 'flow',
  buttons: true,
  play: { seconds: 9, label: 'Step of the request', from: 1 },
  height: () => 344,
  legend: () => [['line', 'main', 'the way so far'], ['dash', 'bad', 'nobody answers'], ['back', 'bad', 'part taken down (click it)'], ['tint', 'ok', 'works'], ['tint', 'warn', 'works, degraded'], ['tint', 'bad', 'lost']],
  draw(pen, s, ctx) {
    const sites = SITES[s.world], w = Math.min(118, ctx.W / 5 - 18), h = 46, gap = (ctx.W - w - 4) / 4;
    const at = (name) => [2 + w / 2 + sites[name][0] * gap, 48 + sites[name][1] * 78];
    const steps = s.hops.length, step = Math.min(steps, Math.floor(ctx.ui.at * steps + 1e-6) + (ctx.ui.at < 1 ? 1 : 0));
    for (const [a, b] of LINKS[s.world]) pen.line(...edge(at(a), at(b), w, h), 'grid');
    s.hops.slice(0, step).forEach((hop, i) => {
      const way = route(hop, at, w, h, gap), now = i === step - 1, [[x1, y1], [x2, y2]] = way.slice(-2);
      const role = hop.lost ? 'c-bad' : 'c-main', mark = hop.lost ? 'dash' : '';
      pen.curve(way, `${mark} ${role} ${now ? 'thick' : ''}`, { opacity: now ? 1 : 0.45 });
      if (!now) return;
      const turn = (Math.atan2(y2 - y1, x2 - x1) * 180) / Math.PI;
      if (hop.lost) pen.cross((x1 + x2) / 2, (y1 + y2) / 2, 6, 'c-bad thick');
      else pen.path('M-11 -6L1 0L-11 6z', 'fill c-main', { transform: `translate(${x2} ${y2}) rotate(${turn})` });
    });
    for (const name of Object.keys(sites)) part(pen, s, ctx, name, at(name), w, h, s.hops[step - 1]);
    verdicts(pen, s, ctx);
    ctx.ui.step = step;
  },
  panel(node, s, ctx) {
    const steps = s.hops.length, step = Math.min(steps, Math.floor((ctx.ui.at ?? 1) * steps + 1e-6) + ((ctx.ui.at ?? 1) < 1 ? 1 : 0)), hop = s.hops[step - 1];
    const text = `${step} of ${steps}`;
    node.replaceChildren(h('div', { class: 'fg-step' }, h('span', {}, text), h('b', {}, `${hop.source} → ${hop.target}`), ` ${hop.text}${hop.lost && hop.source !== 'metrics' ? ' — no answer' : ''}`));
  },
});

// Ways that would run through a box go around it: to the models above or below, to the client above.
function route({ source, target }, at, w, h, gap) {
  const [[x1, y1], [x2, y2]] = [at(source), at(target)], api = source.startsWith('api');
  if (api && target === 'client') return [[x1 - w / 2 - 3, y1], [x1 - gap / 2, y1], [x1 - gap / 2, 14], [x2, 14], [x2, y2 - h / 2 - 3]];
  if (api && target === 'lab-large') return [[x1 + w / 2 + 3, y1], [x1 + gap / 2, y1], [x1 + gap / 2, 14], [x2, 14], [x2, y2 - h / 2 - 3]];
  if (api && target === 'lab-small') return [[x1 + w / 2 + 3, y1], [x1 + gap / 2, y1], [x1 + gap / 2, 242], [x2, 242], [x2, y2 + h / 2 + 3]];
  const [a, b, c, d] = edge([x1, y1], [x2, y2], w, h);
  return [[a, b], [c, d]];
}

function edge([x1, y1], [x2, y2], w, h) {
  const cut = (dx, dy) => Math.min((w / 2 + 3) / Math.abs(dx || 1e-9), (h / 2 + 3) / Math.abs(dy || 1e-9), 0.5);
  const k = cut(x2 - x1, y2 - y1);
  return [x1 + (x2 - x1) * k, y1 + (y2 - y1) * k, x2 - (x2 - x1) * k, y2 - (y2 - y1) * k];
}

function part(pen, s, ctx, name, [x, y], w, h, hop) {
  const [, , label, note] = SITES[s.world][name], gone = s.down.includes(name), on = hop && (hop.source === name || hop.target === name);
  pen.rect(x - w / 2, y - h / 2, w, h, 'paper', { rx: 8 });
  const box = pen.rect(x - w / 2, y - h / 2, w, h, gone ? 'ln1 c-bad' : on ? 'ring tint c-main' : 'ln1 pale c-wait', { rx: 8, ...(gone ? pen.hatched('back', 'bad') : {}) });
  const short = note.length * 6 > w - 8 ? note.split(',')[0].split(' + ')[0] : note, fits = short.length * 6.4 < w;
  pen.text(x, y - 2, label, `b ${gone ? 'halo' : ''}`, 'middle', { 'pointer-events': 'none' });
  pen.text(x, y + 14, gone ? 'down' : fits ? short : '', `${gone ? 'halo b col c-bad' : 'mute'}`, 'middle', { 'pointer-events': 'none' });
  if (name === 'client') return;
  const next = gone ? ctx.params.down.filter((p) => p !== name) : [...ctx.params.down, name];
  pen.hot(box, `${label}: ${gone ? 'down; press to bring it back' : 'up; press to take it down'}`, () => ctx.set('down', next), gone);
}

function verdicts(pen, s, ctx) {
  const w = ctx.W / s.verdicts.length, y = 304;
  s.verdicts.forEach((v, i) => {
    const role = { good: 'ok', degraded: 'warn', lost: 'bad' }[v.grade], glyph = { good: '✓', degraded: '~', lost: '✕' }[v.grade];
    const mine = v.kind === ctx.params.request;
    const box = pen.rect(i * w + 3, y - 16, w - 6, 44, `tint c-${role} ${mine ? 'ring' : 'ln1'}`, { rx: 8 });
    pen.text(i * w + w / 2, y + 2, v.name, `${mine ? 'b' : ''}`, 'middle', { 'pointer-events': 'none', style: w < 120 ? 'font-size:11px' : '' });
    pen.text(i * w + w / 2, y + 19, `${glyph} ${v.status || 'no answer'}`, 'b', 'middle', { 'pointer-events': 'none' });
    pen.hot(box, `${v.name}: ${v.status || 'no connection'}, ${v.remark}`, () => ctx.set('request', v.kind), mine);
  });
}
