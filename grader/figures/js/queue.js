// Section 9: response time over utilisation (formula), and the queue of one run (simulation).
export default figure({
  name: 'queue',
  height: () => 386,
  legend: () => [['line', 'main', 'mean response time (formula)'], ['dash', 'wait', 'the request alone'], ['line', 'bad', 'waiting in the queue (simulated)'], ['dash', 'bad', 'mean of the formula']],
  draw(pen, s, ctx) {
    const left = 52, right = ctx.W - 18, top = 24, bottom = 200, high = Math.min(s.curve[s.curve.length - 1][1], Math.max(s.service * 12, s.response * 1.15));
    const x = scale(0, 1, left, right), y = scale(0, high, bottom, top);
    pen.text(0, 10, 'response time', 'mute');
    pen.rect(x(0.9), top, x(1) - x(0.9), bottom - top, 'pale c-bad');
    for (const v of ticks(0, high, 4)) { pen.line(left, y(v), right, y(v), 'grid'); pen.text(left - 8, y(v) + 4, clock(v), 'mute n', 'end'); }
    for (const v of [0, 0.2, 0.4, 0.6, 0.8, 0.9, 1]) pen.text(x(v), bottom + 17, `${v * 100}%`, 'mute n', 'middle');
    pen.text((left + right) / 2, bottom + 34, 'utilisation of the servers', 'mute', 'middle');
    pen.curve([[left, y(s.service)], [right, y(s.service)]], 'dash c-wait');
    const points = [[left, y(s.service)], ...s.curve.map(([rho, r]) => [x(rho), y(r)])], out = points.findIndex(([, py]) => py < top);
    if (out > 0) {
      const [[a, b], [c, d]] = [points[out - 1], points[out]];
      points.splice(out, points.length, [a + ((c - a) * (b - top)) / (b - d), top]);
    }
    pen.curve(points, 'c-main thick');
    pen.line(x(s.load), y(s.response), x(s.load), bottom, 'ln1 dash c-main');
    pen.dot(x(s.load), y(s.response), 7, 'fill c-main mv');
    pen.text(x(s.load) - 14, y(s.response) - 8, `${exact(s.response)}, ${fix(s.response / s.service, 1)}×`, 'b halo', s.load < 0.25 ? 'start' : 'end');
    run(pen, s, left, right, 262, 356);
  },
});

function run(pen, s, left, right, top, bottom) {
  const most = Math.max(3, ...s.line), y = scale(0, most, bottom, top), x = scale(0, s.line.length - 1, left, right);
  pen.text(0, top - 8, 'in the queue', 'mute');
  for (const v of ticks(0, most, 3).filter(Number.isInteger)) { pen.line(left, y(v), right, y(v), 'grid'); pen.text(left - 8, y(v) + 4, v, 'mute n', 'end'); }
  const points = s.line.flatMap((v, i) => (i ? [[x(i), y(s.line[i - 1])], [x(i), y(v)]] : [[x(0), y(v)]]));
  pen.path(`M${points.map((p) => p.map((v) => v.toFixed(1)).join(' ')).join('L')}V${bottom}H${left}Z`, 'pale c-bad');
  pen.curve(points, 'c-bad', { style: 'stroke-width:1.4' });
  if (s.mean <= most) pen.line(left, y(s.mean), right, y(s.mean), 'ln dash c-bad', { style: 'stroke-width:1.2' });
  for (const v of timeTicks(s.end)) pen.text(scale(0, s.end, left, right)(v), bottom + 17, clock(v), 'mute n', 'middle');
}
