// Section 6: a histogram over a logarithmic axis, the percentiles above it, Prometheus's buckets below it.
export default figure({
  name: 'percentiles',
  buttons: true,
  height: () => 372,
  legend: (s) => [['box', 'sky', 'requests'], ['dash', 'warn', 'mean'], ['line', 'ink', 'percentiles'], ['line', 'main', `p${s.p} (drag it)`], ['diamond', 'bad', 'what the buckets say']],
  draw(pen, s, ctx) {
    const left = 10, right = ctx.W - 10, top = 66, bottom = 236, log = scale(Math.log(s.low), Math.log(s.high), left, right), x = (v) => log(Math.log(clamp(v, s.low, s.high)));
    const most = Math.max(...s.bars), y = scale(0, most, bottom, top), w = (right - left) / s.bars.length;
    for (const v of ctx.W < 620 ? [0.05, 0.2, 1, 5, 20, 100] : [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100]) { pen.line(x(v), top, x(v), bottom, 'grid'); pen.text(x(v), bottom + 17, clock(v), 'mute n', v === 0.05 ? 'start' : v === 100 ? 'end' : 'middle'); }
    s.bars.forEach((count, i) => {
      const beyond = left + (i + 0.5) * w >= x(s.true);
      pen.rect(left + i * w + 0.75, y(count), w - 1.5, bottom - y(count), `fill mv ${beyond ? 'c-main' : 'c-sky'}`, { rx: 1.5, opacity: beyond ? 1 : 0.75 });
    });
    pen.line(left, bottom, right, bottom, 'base');
    const rows = { mean: 0, p50: 1, p95: 0, p99: 1 };
    for (const [name, value] of Object.entries(s.marks)) {
      if (name === `p${s.p}`) continue;
      const yy = 30 + rows[name] * 17, mean = name === 'mean';
      pen.line(x(value), yy + 4, x(value), bottom, `ln1 ${mean ? 'ring dash c-warn' : 'c-ink'}`, mean ? { style: 'stroke-width:2' } : {});
      pen.text(x(value) + (name === 'p50' ? -5 : 5), yy + 6, `${name} ${exact(value)}`, `halo b ${mean ? 'col c-warn' : ''}`, name === 'p50' ? 'end' : 'start');
    }
    buckets(pen, s, x, left, right, 286);
    handle(pen, s, ctx, x, left, right, bottom);
  },
});

function handle(pen, s, ctx, x, left, right, bottom) {
  const t = x(s.true), text = `p${s.p} ${exact(s.true)}`, w = text.length * 7 + 16, at = clamp(t, left + w / 2, right - w / 2);
  const grip = pen.rect(t - 10, 0, 20, bottom, 'drag', { fill: 'transparent' });
  pen.line(t, 18, t, bottom, 'ln c-main', { 'pointer-events': 'none' });
  pen.rect(at - w / 2, 0, w, 21, 'fill c-main', { rx: 10.5, 'pointer-events': 'none' });
  pen.text(at, 15, text, 'on n', 'middle', { 'pointer-events': 'none' });
  const whole = s.bars.reduce((a, b) => a + b, 0);
  grip.onpointerdown = (event) => {
    grip.setPointerCapture(event.pointerId);
    grip.onpointermove = (move) => {
      const point = new DOMPoint(move.clientX, move.clientY).matrixTransform(pen.svg.getScreenCTM().inverse());
      const bar = ((point.x - left) / (right - left)) * s.bars.length;
      const under = s.bars.reduce((sum, n, i) => sum + n * clamp(bar - i, 0, 1), 0);
      ctx.set('p', clamp(Math.round((1000 * under) / whole) / 10, 1, 99.9));
    };
    grip.onpointerup = () => { grip.onpointermove = null; };
  };
}

function buckets(pen, s, x, left, right, y) {
  pen.text(left, y - 8, 'What Prometheus keeps: requests per bucket', 'b');
  const edges = [s.low, ...s.bounds, s.high], most = Math.max(...s.counts.map((c, i) => c - (i ? s.counts[i - 1] : 0)));
  s.counts.forEach((count, i) => {
    const a = i ? x(edges[i]) : left, b = i === s.bounds.length ? right : x(edges[i + 1]), inside = count - (i ? s.counts[i - 1] : 0);
    if (b - a < 1) return;
    pen.rect(a + 1, y, b - a - 2, 30, 'ln1 c-wait', { rx: 3, style: `fill:color-mix(in srgb, var(--sky) ${Math.round((70 * inside) / most)}%, transparent)` });
    if (b - a > 24) pen.text((a + b) / 2, y + 19, inside, 'n halo', 'middle');
    if (b - a > 30 || i === s.bounds.length) pen.text(i === s.bounds.length ? b - 2 : b, y + 46, i === s.bounds.length ? '+Inf' : `${edges[i + 1]}`, 'mute n', i === s.bounds.length ? 'end' : 'middle');
  });
  const t = x(s.true), g = x(s.guess);
  pen.line(t, y - 3, t, y + 33, 'ln c-main');
  pen.path(`M${g} ${y + 50}l7 8l-7 8l-7 -8z`, 'fill c-bad mv');
  pen.path(`M${g} ${y + 50}V${y + 31}`, 'ln dash c-bad');
  const flip = g > right - 190;
  pen.text(g + (flip ? -12 : 12), y + 63, `the buckets say ${exact(s.guess)} for p${s.p}`, 'b halo', flip ? 'end' : 'start');
}
