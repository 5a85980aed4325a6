// Section 5: hit rate over lifetime on the left, two bills on the right (below, where it is narrow).
export default figure({
  name: 'cachebill',
  height: (W) => (W < 640 ? 390 : 272),
  legend: () => [['line', 'main', 'expected hit rate'], ['ring', 'alt', 'one simulated day, empty cache at first'], ['box', 'warn', 'paid'], ['slash', 'ok', 'saved']],
  draw(pen, s, ctx) {
    const narrow = ctx.W < 640, left = 44, right = narrow ? ctx.W - 12 : ctx.W * 0.62, top = 26, bottom = 222;
    const x = scale(0, Math.log(604800), left + 8, right - 8), at = (t) => x(Math.log(t)), y = scale(0, 1, bottom, top);
    pen.axisY(y, [0, 0.25, 0.5, 0.75, 1], left, right, (v) => `${v * 100}%`);
    pen.text(0, 10, 'requests answered from the cache', 'mute');
    for (const t of [1, 60, 900, 3600, 21600, 86400, 604800]) pen.text(at(t), bottom + 18, t === 1 ? '1 s' : t === 60 ? '1 min' : clock(t), 'mute n', 'middle');
    pen.text((left + right) / 2, bottom + 36, 'how long an entry lives', 'mute', 'middle');
    const fine = s.curve.map(([t, h]) => [at(t), y(h)]);
    pen.path(`M${fine.map((p) => p.join(' ')).join('L')}V${bottom}H${fine[0][0]}Z`, 'pale c-main');
    pen.curve(fine, 'c-main');
    pen.line(at(s.ttl), y(s.rate), at(s.ttl), bottom, 'ln1 dash c-main');
    pen.dot(at(s.ttl), y(s.played), 6, 'ln paper c-alt mv');
    pen.dot(at(s.ttl), y(s.rate), 6, 'fill c-main mv');
    const low = s.rate > 0.85;
    pen.text(at(s.ttl) + (s.ttl > 20000 ? -12 : 12), y(s.rate) + (low ? 22 : -10), `${fix(s.rate * 100, 0)}% hits`, 'b halo', s.ttl > 20000 ? 'end' : 'start');
    bars(pen, s, narrow ? 0 : right + 34, narrow ? 284 : 40, ctx.W - 4);
  },
});

function bars(pen, s, left, top, right) {
  const w = scale(0, s.without || 1, 0, right - left), money = (v) => `$${num(v, v < 100 ? 2 : 0)}`;
  pen.text(left, top, 'Bill a month', 'b');
  pen.text(left, top + 26, 'without cache', 'mute');
  pen.text(right, top + 26, money(s.without), 'n', 'end');
  pen.rect(left, top + 32, w(s.without), 16, 'fill c-warn', { rx: 3 });
  pen.text(left, top + 72, 'with cache', 'mute');
  pen.text(right, top + 72, money(s.with), 'b n', 'end');
  pen.rect(left, top + 78, w(s.without), 16, 'ln1 c-ok', { rx: 3, ...pen.hatched('slash', 'ok') });
  pen.rect(left, top + 78, w(s.with), 16, 'fill c-warn mv', { rx: 3 });
  if (top < 100) {
    pen.text(left, top + 138, `${money(s.without - s.with)}`, 'big');
    pen.text(left, top + 156, 'saved every month', 'mute');
  }
}
