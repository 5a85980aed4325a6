// Section 4: one row of arrivals, three rows of verdicts, the level of the bucket below.
const LANES = [['fixed', 'fixed window'], ['sliding', 'sliding window'], ['bucket', 'token bucket']];

export default figure({
  name: 'limiters',
  buttons: true,
  height: () => 338,
  legend: () => [['box', 'ok', 'passes (200)'], ['cross', 'bad', 'refused (429)'], ['line', 'alt', 'the busiest stretch of W seconds'], ['line', 'main', 'tokens left']],
  draw(pen, s, ctx) {
    const left = 112, right = ctx.W - 66, x = scale(0, s.end, left, right);
    const own = ctx.params.pattern === 'own';
    arrivals(pen, s, ctx, x, left, right, own);
    LANES.forEach(([kind, name], row) => {
      const y = 66 + row * 52;
      pen.text(0, y + 18, name, 'b');
      pen.rect(left, y, right - left, 28, 'well', { rx: 4 });
      for (let i = 0; i <= s.end / s.window; i += 1) pen.line(x(i * s.window), y - 4, x(i * s.window), y + 32, kind === 'fixed' ? 'base' : 'grid');
      s.arrivals.forEach((at, i) => (s.passed[kind][i] ? pen.rect(x(at) - 1.75, y + 4, 3.5, 20, 'fill c-ok', { rx: 1.5 }) : pen.cross(x(at), y + 14, 3.5, 'c-bad')));
      const { count, begin } = s.worst[kind], over = count > s.limit;
      if (!count) return;
      const a = x(begin), b = Math.min(right, x(begin + s.window));
      pen.path(`M${a} ${y + 33}v4H${b}v-4`, 'ln c-alt mv');
      pen.text(right + 10, y + 11, `${count} in W`, `b n ${over ? 'col c-bad' : ''}`);
      pen.text(right + 10, y + 27, over ? `limit ${s.limit}!` : `limit ${s.limit}`, 'mute n');
    });
    level(pen, s, x, left, right);
  },
});

function arrivals(pen, s, ctx, x, left, right, own) {
  const send = (at) => { ctx.set('clicks', [...ctx.params.clicks.filter((c) => c <= s.end), +at.toFixed(2)]); };
  pen.text(0, 33, 'requests', 'b');
  const lane = pen.rect(left, 16, right - left, 26, `well ${own ? 'hot' : ''}`, { rx: 4 });
  for (const at of s.arrivals) pen.line(x(at), 21, x(at), 37, 'ln c-ink', { 'pointer-events': 'none' });
  for (let i = 0; i <= s.end / s.window; i += 1) pen.text(x(i * s.window), 9, `${i * s.window} s`, 'mute n', 'middle');
  if (!own) return;
  ctx.ui.caret = clamp(ctx.ui.caret ?? s.end / 6, 0, s.end);
  pen.path(`M${x(ctx.ui.caret)} 14l-5 -7h10z`, 'fill c-main', { 'pointer-events': 'none' });
  pen.hot(lane, `Timeline: cursor at ${fix(ctx.ui.caret)} seconds. Arrow keys move it, Enter sends a request, Delete takes the last one back.`, () => send(ctx.ui.caret));
  const enter = lane.onkeydown;
  lane.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) { event.preventDefault(); ctx.ui.caret += (step * s.window) / 20; ctx.redraw(); }
    else if (event.key === 'Delete' || event.key === 'Backspace') { event.preventDefault(); ctx.set('clicks', ctx.params.clicks.slice(0, -1)); }
    else enter(event);
  };
  lane.onclick = (event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(pen.svg.getScreenCTM().inverse());
    ctx.ui.caret = clamp(((point.x - left) / (right - left)) * s.end, 0, s.end - 0.01);
    send(ctx.ui.caret);
  };
  if (!s.arrivals.length) pen.text((left + right) / 2, 33, 'click here to send requests', 'mute', 'middle', { 'pointer-events': 'none' });
}

function level(pen, s, x, left, right) {
  const top = 236, bottom = 314, y = scale(0, s.limit, bottom, top), rate = s.limit / s.window;
  pen.text(0, top + 12, 'tokens left', 'b');
  pen.text(0, top + 28, 'in the bucket', 'mute');
  for (const v of [0, s.limit]) { pen.line(left, y(v), right, y(v), v ? 'grid' : 'base'); pen.text(left - 8, y(v) + 4, v, 'mute n', 'end'); }
  const points = [[x(0), y(s.limit)]];
  let at = 0, now = s.limit;
  const glide = (to) => {
    const full = at + (s.limit - now) / rate;
    if (full < to) points.push([x(full), y(s.limit)]);
    now = Math.min(s.limit, now + (to - at) * rate);
    at = to;
    points.push([x(at), y(now)]);
  };
  s.arrivals.forEach((t, i) => { glide(t); now = s.levels[i]; points.push([x(t), y(now)]); });
  glide(s.end);
  pen.path(`M${points.map((p) => p.join(' ')).join('L')}L${right} ${bottom}H${left}Z`, 'pale c-main');
  pen.curve(points, 'c-main');
  for (let i = 0; i <= s.end / s.window; i += 1) pen.text(x(i * s.window), bottom + 18, `${i * s.window} s`, 'mute n', 'middle');
}
